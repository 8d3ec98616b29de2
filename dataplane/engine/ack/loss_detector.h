#pragma once

#include <cstdint>
#include <optional>

#include "common/time.h"
#include "dataplane/engine/ack/rtt_estimator.h"

namespace penstock::engine {

/// How late a packet may be before it counts as lost.
/// Until reordering shows, three later packets acknowledged are enough (RFC 9002 6.1.1); after that time alone decides
/// (RFC 8985 section 6.2): a round trip and a window, which grows by a quarter of the minimum RTT in each round trip
/// that brings a spurious loss, up to one smoothed RTT, and falls back after 16 recoveries without any.
/// Threads: one owner.
class LossDetector {
 public:
  /// A packet that was not lost, merely `distance` numbers behind a later one.
  void on_reordering(std::uint64_t distance);
  /// A packet declared lost was acknowledged after all.
  void on_spurious_loss(TimePoint now, const RttEstimator& rtt);
  /// Packets were declared lost; `new_recovery`: the first of a round trip.
  void on_loss(bool new_recovery);

  /// Age at which a packet below the largest acknowledged number is lost.
  [[nodiscard]] Duration loss_delay(const RttEstimator& rtt) const;
  /// Numbers behind the largest acknowledged at which it is lost whatever its age; nullopt once reordering was seen.
  [[nodiscard]] std::optional<std::uint64_t> packet_threshold() const;
  [[nodiscard]] std::uint32_t window_quarters() const { return window_quarters_; }

 private:
  bool reordering_seen_ = false;
  std::uint32_t window_quarters_ = 1;  // of the minimum RTT
  std::uint32_t recoveries_left_ = 0;  // until the window falls back
  std::optional<TimePoint> widened_at_;
};

}  // namespace penstock::engine
