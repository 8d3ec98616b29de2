#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/ack/rtt_estimator.h"

namespace penstock::engine {

/// Bytes that may be in flight beyond the congestion window on a short path. ACKs come every 0.5 ms there, however
/// short the round trip is: what the pacer lets out in that time has to be in flight as well, or the path starves
/// between two ACKs. It is the first that a receiver drops who can not keep up, so his drops halve it, and a second
/// without any doubles it again. Source: bbr's offload budget (PROTOCOL section 4).
/// Threads: one owner. Time: passed in, never read.
class OffloadBudget {
 public:
  /// Of one of so many lanes that share the receiver.
  explicit OffloadBudget(std::size_t lanes);

  [[nodiscard]] std::uint64_t bytes(const RttEstimator& rtt, DataRate pacing) const;
  /// The receiver's own socket dropped so many datagrams so far, as it says. How many of those are news.
  std::uint32_t on_receiver_drops(TimePoint now, std::uint32_t total, const RttEstimator& rtt);
  /// There were drops within the last second: the receiver can not keep up.
  [[nodiscard]] bool drops_recent(TimePoint now) const;

 private:
  std::uint64_t max_;
  std::uint64_t limit_;
  TimePoint changed_at_{};
  std::uint32_t drops_ = 0;
  std::optional<TimePoint> drops_at_;
};

}  // namespace penstock::engine
