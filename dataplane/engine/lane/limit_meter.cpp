#include "dataplane/engine/lane/limit_meter.h"

#include <algorithm>
#include <numeric>

namespace penstock::engine {

void LimitMeter::on_blocked(TimePoint now, SenderLimit why, std::optional<TimePoint> until) { enter(now, why, until); }

void LimitMeter::on_busy(TimePoint now) { enter(now, SenderLimit::sender_cpu, std::nullopt); }

void LimitMeter::enter(TimePoint now, SenderLimit state, std::optional<TimePoint> until) {
  if (!since_) {
    window_begin_ = now;
  } else {
    const TimePoint over = until_ ? std::clamp(*until_, *since_, now) : now;
    spent(state_) += over - *since_;
    spent(SenderLimit::sender_cpu) += now - over;
  }
  since_ = now;
  state_ = state;
  until_ = until;
  if (now - window_begin_ < window) return;
  judged_ = judge();
  spent_.fill({});
  window_begin_ = now;
}

SenderLimit LimitMeter::judge() {
  const Duration all = std::accumulate(spent_.begin(), spent_.end(), Duration{});
  if (2 * spent(SenderLimit::nothing_to_send) > all) return SenderLimit::nothing_to_send;
  const Duration regular = all / regular_share;
  SenderLimit worst = SenderLimit::source;
  Duration blocked{};
  for (const auto limit : {SenderLimit::source, SenderLimit::cwnd, SenderLimit::receiver_credit,
                           SenderLimit::receiver_cpu, SenderLimit::stream}) {
    blocked += spent(limit);
    if (spent(limit) > spent(worst)) worst = limit;
  }
  if (blocked >= regular) return worst;
  return spent(SenderLimit::pacing) >= regular ? SenderLimit::pacing : SenderLimit::sender_cpu;
}

}  // namespace penstock::engine
