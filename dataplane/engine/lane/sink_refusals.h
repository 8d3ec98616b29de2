#pragma once

#include <algorithm>
#include <cstdint>

namespace penstock::engine {

/// What the receiver's sink had no room for has crossed the path: its loss is no congestion. But how much that was is
/// the peer's word alone, and a peer that calls every loss a refusal would have all of the path. So a refusal is
/// believed of a packet that is on its way at that moment, excuses file bytes alone (no sink refuses anything else, so
/// a path that drops shows all the same), and is forgotten when all that is on its way is accounted for.
/// Bound: two numbers. Threads: one owner.
class SinkRefusals {
 public:
  /// The peer says so many so far, while so many packets wait for their ACK. How many of them are news, and believed.
  std::uint64_t on_told(std::uint32_t total, std::uint64_t packets_in_flight) {
    const std::uint64_t fresh = total - std::min(total, told_);
    told_ = std::max(told_, total);
    const std::uint64_t believed = std::min(fresh, packets_in_flight - std::min(packets_in_flight, open_));
    open_ += believed;
    return believed;
  }
  /// So many packets were lost, `data` of them with file bytes. True: all of them were refused.
  [[nodiscard]] bool excuse(std::uint64_t packets, std::uint64_t data) {
    const std::uint64_t excused = std::min(open_, data);
    open_ -= excused;
    return excused == packets;
  }
  /// No more than that still wait.
  void on_in_flight(std::uint64_t packets) { open_ = std::min(open_, packets); }

 private:
  std::uint32_t told_ = 0;
  std::uint64_t open_ = 0;  // believed, and not found lost yet
};

}  // namespace penstock::engine
