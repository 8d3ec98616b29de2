#include "dataplane/engine/congestion/lane_guide.h"

#include <algorithm>
#include <chrono>

namespace penstock::engine {
namespace {

// Tuning. Shorter: an ordinary pause gives the lead away, and two lanes probe by turns; longer: where the leader's path
// is down the others go on as it said for so long.
constexpr std::int64_t silence_rtts = 4;
constexpr Duration silence_min = std::chrono::milliseconds{250};
constexpr std::uint64_t news_divisor = 64;  // a smaller change can wait for half a round trip

bool differ(std::uint64_t one, std::uint64_t other) {
  return std::max(one, other) - std::min(one, other) > other / news_divisor;
}

}  // namespace

void LaneGuide::on_news(TimePoint now, const LaneLead& said) {
  if (said.lane >= place_.lane) return;  // who is lower need not follow
  if (leader_ && said.lane > leader_->lane) return;
  if (said.over) {
    if (leader_ && leader_->lane == said.lane) leader_.reset();
    return;
  }
  leader_ = said;
  heard_at_ = now;
}

void LaneGuide::on_time(TimePoint now, Duration rtt) {
  if (leader_ && now - heard_at_ > std::max(silence_rtts * rtt, silence_min)) leader_.reset();
}

std::optional<LaneLead> LaneGuide::tell(TimePoint now, LaneLead own, bool worthy, Duration rtt) {
  own.lane = place_.lane;
  if (place_.lanes == 1) return std::nullopt;
  if (leader_ || !worthy) {
    if (!told_) return std::nullopt;
    told_.reset();
    own.over = true;
    return own;
  }
  const bool is_new = !told_ || told_->pace != own.pace || told_->full != own.full || differ(own.rate, told_->rate) ||
                      differ(own.cwnd, told_->cwnd);
  if (!is_new && now - told_at_ < rtt / 2) return std::nullopt;
  told_ = own;
  told_at_ = now;
  return own;
}

}  // namespace penstock::engine
