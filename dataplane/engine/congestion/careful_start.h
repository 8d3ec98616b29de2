#pragma once

#include <cstdint>
#include <optional>

#include "common/time.h"
#include "common/units.h"

namespace penstock::engine {

// Tuning: ours alone.
// The most that leaves before anything of it was acknowledged, whatever is remembered, or a peer says that it
// remembers: half of 500 Mbit/s over 134 ms. More: a path that is not what it was gets more lost; less: far and fast
// paths begin as if they were unknown. In the first round trip the initial credit of 1 MiB allows no more than a
// quarter of it.
inline constexpr std::uint64_t careful_window_max = 4 * MiB;
// Of the remembered rate (PROTOCOL section 4: half). Others may have come since.
inline constexpr std::uint64_t careful_rate_divisor = 2;

/// The first flight where an earlier transfer found out what the path carries: half of that, instead of 64 packets,
/// over a round trip; no more than has left by the first ACK before all of that is acknowledged; and given up when a
/// packet is lost.
/// Source: RFC 9959, Careful Resume (draft-ietf-tsvwg-careful-resume): its phases Unvalidated, Validating and, as what
/// on_lost returns, Safe Retreat. Reconnaissance is what the control channel has done before: three round trips and
/// their RTT; who makes us has judged them. Threads: one owner.
///
/// The flight begins with the data: what is heard of control messages that left before, while the source waited for
/// verdicts, proves nothing.
/// unvalidated --first ACK of the flight--> validating --all of the flight acknowledged, or a loss--> ordinary
class CarefulStart {
 public:
  enum class Phase : std::uint8_t { ordinary, unvalidated, validating };

  /// `ordinary_window`: bytes, where nothing is remembered. `remembered`: what this path carried, of the same bytes as
  /// windows count; what makes no more than `ordinary_window` is as good as nothing.
  CarefulStart(std::uint64_t ordinary_window, std::optional<DataRate> remembered, Duration rtt);

  /// Bytes, of the flight; paced over a round trip.
  [[nodiscard]] std::uint64_t window() const { return window_; }
  /// The window is not to grow: the flight is not acknowledged yet.
  [[nodiscard]] bool holds() const { return phase_ != Phase::ordinary; }
  [[nodiscard]] Phase phase() const { return phase_; }

  void on_sent(PacketNumber last, std::uint64_t bytes) {
    if (phase_ != Phase::unvalidated) return;
    last_ = last;
    sent_ += bytes;
  }
  /// There is nothing more to send for the moment. What has left is no flight if it is less than anybody would send.
  void on_app_limited() {
    if (phase_ != Phase::unvalidated || sent_ == 0 || sent_ >= ordinary_window_) return;
    sent_ = 0;
    first_ = {last_.value + 1};
  }
  /// Told after the losses that the same ACK revealed. `in_flight`: without what it acknowledges. True: it is the
  /// flight's first, and the window is now what window() says: the flight as it is.
  bool on_acked(PacketNumber largest, std::uint64_t bytes, std::uint64_t in_flight);
  /// The window after the first loss: as much as half of what has arrived, at least the ordinary one. nullopt: the
  /// start is over, and losses are the controller's.
  [[nodiscard]] std::optional<std::uint64_t> on_lost();

 private:
  Phase phase_ = Phase::ordinary;
  std::uint64_t ordinary_window_;
  std::uint64_t window_;
  std::uint64_t sent_ = 0;
  std::uint64_t arrived_ = 0;
  PacketNumber first_;  // of the flight
  PacketNumber last_;
};

}  // namespace penstock::engine
