#pragma once

#include <cstdint>
#include <optional>

#include "common/time.h"
#include "dataplane/engine/wire/frames.h"

namespace penstock::engine {

/// What is different about the address that a peer's newest packet came from. Another port alone is a NAT that forgot.
enum class AddressChange : std::uint8_t { port, host };

/// The peer is where it was proposed to be.
struct AddressMove {
  AddressChange change = AddressChange::port;
  /// The round trip there, by how long ago the challenge that was answered can have left: its repeats are alike.
  Duration rtt_least{};
  Duration rtt_most{};
};

/// Whether the peer has moved to the one address that was proposed last: asked by an 8-byte challenge, which only who
/// receives at that address can answer. To an address that has not answered no more than three times the bytes leave
/// that came from it. Source: RFC 9000 sections 8.1, 8.2, 9.3; PROTOCOL section 2. Which address it is, the driver
/// knows. idle --propose--> asking --right answer--> idle (moved); --unanswered five times--> idle Threads: one owner.
/// Time: passed in, never read.
class AddressValidation {
 public:
  /// The bytes came with it. False: one is being asked already, or the last move was within the last second.
  [[nodiscard]] bool propose(TimePoint now, AddressChange change, const PathData& challenge, std::uint64_t bytes);
  [[nodiscard]] bool asking() const { return challenge_.has_value(); }
  /// Authentic bytes that came from the proposed address.
  void on_bytes_received(std::uint64_t bytes) { received_ += bytes; }

  /// A challenge of so many bytes, all headers included, should leave now; its data.
  [[nodiscard]] std::optional<PathData> challenge_due(TimePoint now, std::uint64_t bytes) const;
  /// The next one, or the end of our patience, comes `repeat_after` later.
  void on_challenge_sent(TimePoint now, std::uint64_t bytes, Duration repeat_after);
  [[nodiscard]] std::optional<TimePoint> deadline() const { return ask_at_; }
  /// Where the challenge of so many bytes may not leave, its turn passes.
  void on_deadline(TimePoint now, std::uint64_t bytes, Duration repeat_after);

  /// What changed, if this is the answer: the proposed address is the peer's from now on.
  [[nodiscard]] std::optional<AddressMove> on_response(TimePoint now, const PathData& answer);

 private:
  std::optional<PathData> challenge_;
  AddressChange change_ = AddressChange::port;
  std::uint64_t received_ = 0;
  std::uint64_t sent_ = 0;
  std::uint32_t asked_ = 0;  // times
  TimePoint asked_first_at_{};
  TimePoint asked_last_at_{};
  std::optional<TimePoint> ask_at_;
  std::optional<TimePoint> moved_at_;
};

}  // namespace penstock::engine
