#pragma once

#include <algorithm>
#include <chrono>

#include "common/time.h"

namespace penstock::engine {

// Specification: both ends know how late the other may acknowledge: an eighth of a round trip within these bounds.
inline constexpr Duration ack_interval_min = std::chrono::microseconds{500};
inline constexpr Duration ack_interval_max = std::chrono::milliseconds{25};
// Tuning: what comes in may wait for this share of the interval: a 32nd of a round trip. More: RTT samples of isolated
// packets show it; less: more wake-ups.
inline constexpr int ack_interval_share = 4;
[[nodiscard]] constexpr Duration ack_interval(Duration smoothed_rtt) {
  return std::clamp(smoothed_rtt / 8, ack_interval_min, ack_interval_max);
}

/// Latest, minimum and smoothed RTT of one path, and its variation. Before the first sample the smoothed RTT is what
/// the control channel measured. Source: RFC 9002 section 5. Threads: one owner.
class RttEstimator {
 public:
  explicit RttEstimator(Duration initial_rtt) : smoothed_(initial_rtt), variation_(initial_rtt / 2) {}

  /// From sending the largest newly acknowledged packet to its ACK's arrival; `ack_delay` as the peer reports it.
  void on_sample(Duration measured, Duration ack_delay) {
    measured = std::max(measured, Duration{1});  // virtual time may deliver at once
    latest_ = measured;
    if (!has_sample_) {
      has_sample_ = true;
      minimum_ = measured;
      smoothed_ = measured;
      variation_ = measured / 2;
      return;
    }
    minimum_ = std::min(minimum_, measured);
    // The delay is the peer's word (RFC 9002 section 5.3): it explains no more than an ACK may wait, and nothing below
    // the shortest sample seen.
    const Duration explained = std::min(ack_delay, ack_interval_max);
    const Duration adjusted = measured >= minimum_ + explained ? measured - explained : measured;
    const Duration error = smoothed_ > adjusted ? smoothed_ - adjusted : adjusted - smoothed_;
    variation_ = (3 * variation_ + error) / 4;
    smoothed_ = (7 * smoothed_ + adjusted) / 8;
  }

  [[nodiscard]] bool has_sample() const { return has_sample_; }
  [[nodiscard]] Duration latest() const { return latest_; }
  [[nodiscard]] Duration minimum() const { return minimum_; }  // zero before the first sample
  [[nodiscard]] Duration smoothed() const { return smoothed_; }
  [[nodiscard]] Duration variation() const { return variation_; }

  /// How long after an ack-eliciting packet silence means something (RFC 9002 section 6.2.1).
  [[nodiscard]] Duration probe_timeout() const {
    return smoothed_ + std::max<Duration>(4 * variation_, std::chrono::milliseconds{1}) + ack_interval(smoothed_);
  }

 private:
  Duration latest_{};
  Duration minimum_{};
  Duration smoothed_;
  Duration variation_;
  bool has_sample_ = false;
};

}  // namespace penstock::engine
