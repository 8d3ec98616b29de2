#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/check.h"
#include "common/time.h"
#include "common/units.h"

namespace penstock::engine {

/// Most numbers between the oldest unresolved and the newest: below half of the peer's replay window, so that nothing
/// that we still count on is too old for it.
inline constexpr std::uint64_t sent_packets_max = std::uint64_t{1} << 17;
/// Of those, numbers that bulk leaves to everything else: in an outage probes and ACKs go on for hours.
inline constexpr std::uint64_t sent_packets_reserved = 8192;

enum class SentKind : std::uint8_t {
  none,     // not ack-eliciting
  skipped,  // never sent: whoever acknowledges it does so blindly
  data,
  copied,  // data of which a copy left later: its loss asks for nothing, the copy's does
  control,
  ping,
  path_probe,  // of a larger datagram: in nobody's flight, and its loss is news for the search alone
  repair,      // `offset` is the generation's serial number
};

/// File bytes, or what stands for some.
[[nodiscard]] constexpr bool is_data(SentKind kind) {
  return kind == SentKind::data || kind == SentKind::copied || kind == SentKind::repair;
}

/// What an ack-eliciting packet carried, so that it can be sent again or let go.
struct SentPacket {
  TimePoint sent_at{};
  std::uint64_t offset = 0;  // of transfer space (data) or of the control stream (control)
  std::uint16_t length = 0;  // bytes from there
  std::uint16_t size = 0;    // of the datagram
  SentKind kind = SentKind::none;
  std::uint8_t attempt = 0;  // data: 0 sent for the first time, 1 repeated, then copies of that repeat
  bool marked = false;       // ECT(0)
};

static_assert(sizeof(SentPacket) == 24);  // the ledger's memory: dataplane/README

/// The ledger: every packet number in order, none left out, in a ring that grows by doubling up to sent_packets_max.
/// Constant time a packet. Threads: one owner.
class SentPackets {
 public:
  SentPackets() : ring_(64) {}

  /// The oldest number still remembered, and one past the newest.
  [[nodiscard]] std::uint64_t first() const { return first_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }
  [[nodiscard]] bool full() const { return end_ - first_ >= sent_packets_max; }

  /// Appends the next number. Requires: !full().
  void push(const SentPacket& packet) {
    if (end_ - first_ == ring_.size()) grow();
    ring_[end_ & (ring_.size() - 1)] = packet;
    ++end_;
  }
  /// Requires: first() <= number < end().
  [[nodiscard]] const SentPacket& operator[](std::uint64_t number) const {
    PENSTOCK_CHECK(number - first_ < end_ - first_);
    return ring_[number & (ring_.size() - 1)];
  }
  /// A copy of what it carried leaves. Requires: first() <= number < end(), data.
  void mark_copied(std::uint64_t number) { ring_[number & (ring_.size() - 1)].kind = SentKind::copied; }
  /// What it carried is of no interest any more. Requires: first() <= number < end().
  void disown(std::uint64_t number) { ring_[number & (ring_.size() - 1)].kind = SentKind::ping; }
  /// Requires: first() <= bound <= end().
  void forget_below(std::uint64_t bound) {
    PENSTOCK_CHECK(bound >= first_ && bound <= end_);
    first_ = bound;
  }

 private:
  void grow();

  std::vector<SentPacket> ring_;  // a power of two; number n lies at n modulo its size
  std::uint64_t first_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace penstock::engine
