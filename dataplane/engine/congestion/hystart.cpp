#include "dataplane/engine/congestion/hystart.h"

#include <algorithm>

namespace penstock::engine {
namespace {
// RFC 9406 section 4.3.
constexpr Duration growth_min = std::chrono::milliseconds{4};
constexpr Duration growth_max = std::chrono::milliseconds{16};
constexpr std::uint32_t careful_rounds_max = 5;
}  // namespace

void HyStart::on_sample(PacketNumber largest, PacketNumber next, Duration rtt) {
  if (phase_ == Phase::done) return;
  if (!round_end_) round_end_ = next;
  if (largest >= *round_end_) {
    if (phase_ == Phase::conservative && ++careful_rounds_ >= careful_rounds_max) {
      phase_ = Phase::done;
      return;
    }
    begin_round(next);
  }
  this_round_rtt_ = std::min(this_round_rtt_.value_or(rtt), rtt);
  recent_[samples_++ % recent_.size()] = rtt;
  if (samples_ < recent_.size() || !last_round_rtt_) return;
  const Duration recent = *std::min_element(recent_.begin(), recent_.end());
  if (phase_ == Phase::slow_start) {
    const Duration growth = std::clamp(*last_round_rtt_ / 8, growth_min, growth_max);
    if (recent >= *last_round_rtt_ + growth) {
      baseline_rtt_ = recent;
      phase_ = Phase::conservative;
      careful_rounds_ = 0;
    }
  } else if (recent < baseline_rtt_) {
    phase_ = Phase::slow_start;  // the growth was a passing one
  }
}

void HyStart::begin_round(PacketNumber next) {
  last_round_rtt_ = this_round_rtt_;
  this_round_rtt_.reset();
  round_end_ = next;
}

}  // namespace penstock::engine
