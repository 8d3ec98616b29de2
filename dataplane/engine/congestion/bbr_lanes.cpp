#include <algorithm>

#include "dataplane/engine/congestion/bbr.h"
#include "dataplane/engine/congestion/bbr_tuning.h"

// Several lanes of one transfer under Bbr: README.md, "Several lanes".

namespace penstock::engine {
namespace {
__extension__ using Wide = unsigned __int128;
}  // namespace

/// The others hear what this lane does, if it leads.
void Bbr::lead(TimePoint now) {
  guide_.on_time(now, smoothed_rtt_);
  const LaneLead own{.rate = rate(), .cwnd = cwnd_, .bandwidth = bandwidth(), .pace = pace(), .full = full_};
  const auto told = guide_.tell(now, own, limited_rounds_ < bbr::limited_rounds, smoothed_rtt_);
  if (!told) return;
  if (!news_) news_.emplace();
  news_->lead = told;
}

/// What the leader does, but never much more than this lane's own path carried: it may be another one.
std::uint64_t Bbr::as_led(std::uint64_t value) const {
  const LaneLead& leader = *guide_.leader();
  const std::uint64_t most = max_bandwidth_.maximum() / 100 * bbr::follow_percent;
  if (!full_ || !leader.full || most >= leader.bandwidth) return value;
  return static_cast<std::uint64_t>(Wide{value} * most / leader.bandwidth);
}

std::uint64_t Bbr::cwnd() const {
  if (!guide_.leader()) return cwnd_;
  const std::uint64_t window = as_led(guide_.leader()->cwnd);
  return std::max(std::min(window, receiver_.bytes().value_or(window)), window_min());
}

}  // namespace penstock::engine
