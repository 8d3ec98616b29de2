#include "dataplane/engine/ack/loss_detector.h"

#include <algorithm>

namespace penstock::engine {
namespace {
constexpr std::uint64_t reordering_threshold = 3;               // RFC 9002 6.1.1; less: reordering seems loss
constexpr Duration granularity = std::chrono::milliseconds{1};  // RFC 9002 6.1.2: timers are not finer
constexpr std::uint32_t window_quarters_max = 1024;             // the smoothed RTT binds long before
constexpr std::uint32_t recoveries_kept = 16;                   // RFC 8985 section 6.2 step 4
}  // namespace

void LossDetector::on_reordering(std::uint64_t distance) {
  // Up to the threshold the count of packets forgives by itself.
  if (distance >= reordering_threshold) reordering_seen_ = true;
}

void LossDetector::on_spurious_loss(TimePoint now, const RttEstimator& rtt) {
  reordering_seen_ = true;
  recoveries_left_ = recoveries_kept;
  if (widened_at_ && now - *widened_at_ < rtt.smoothed()) return;
  widened_at_ = now;
  window_quarters_ = std::min(window_quarters_ + 1, window_quarters_max);
}

void LossDetector::on_loss(bool new_recovery) {
  if (!new_recovery || recoveries_left_ == 0) return;
  if (--recoveries_left_ == 0) window_quarters_ = 1;
}

Duration LossDetector::loss_delay(const RttEstimator& rtt) const {
  const Duration longest = std::max(rtt.smoothed(), rtt.latest());
  const Duration quarters = rtt.minimum() * window_quarters_ / 4;
  // An eighth of a round trip at least (RFC 9002 6.1.2), a whole one at most (RFC 8985 6.2 step 4).
  const Duration window = std::min(std::max(longest / 8, reordering_seen_ ? quarters : Duration{}), rtt.smoothed());
  return std::max(longest + window, granularity);
}

std::optional<std::uint64_t> LossDetector::packet_threshold() const {
  if (reordering_seen_) return std::nullopt;
  return reordering_threshold;
}

}  // namespace penstock::engine
