#include "dataplane/engine/congestion/rtt_floor.h"

#include <algorithm>
#include <chrono>

namespace penstock::engine {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// Tuning. A queue of a tenth of a round trip is none; below 250 us a busy machine's own delays are as long.
constexpr Duration near_min = microseconds{250};
// Draft: MinRTTFilterLen.
constexpr Duration filter_length = std::chrono::seconds{10};
// A quarter above the minimum, and 2 ms: less hardly shows in the BDP, and on short paths is a scheduler's mood.
constexpr Duration raised_min = milliseconds{2};
constexpr std::uint32_t raised_rounds_max = 2;
constexpr std::uint32_t capped_rounds = 3;  // PROTOCOL section 4
constexpr std::uint32_t rest_after_doubt = 32;

}  // namespace

bool RttFloor::is_near(Duration rtt) const { return rtt <= minimum_ + std::max(minimum_ / 10, near_min); }

bool RttFloor::confirms(Duration rtt) const { return rtt <= minimum_ + std::max(minimum_ / 32, near_min / 4); }

bool RttFloor::is_raised(Duration rtt) const { return rtt > minimum_ + std::max(minimum_ / 4, raised_min); }

void RttFloor::on_sample(TimePoint now, Duration rtt) {
  round_minimum_ = std::min(round_minimum_.value_or(rtt), rtt);
  probed_ = std::min(probed_.value_or(rtt), rtt);
  if (minimum_ == Duration{} || rtt <= minimum_) {
    minimum_ = rtt;
    minimum_seen_at_ = confirmed_at_ = now;
  } else if (confirms(rtt)) {
    minimum_seen_at_ = confirmed_at_ = now;
  }
}

void RttFloor::restart(TimePoint now, Duration rtt) {
  minimum_ = rtt;
  minimum_seen_at_ = confirmed_at_ = now;
  probed_before_.reset();
}

void RttFloor::end_probe(TimePoint now) {
  confirmed_at_ = now;
  if (probed_ && now - minimum_seen_at_ >= filter_length)
    restart(now, std::min(*probed_, probed_before_.value_or(*probed_)));
  probed_before_ = probed_;
}

void RttFloor::on_round(TimePoint now, const Round& round) {
  const auto lowest = round_minimum_;
  round_minimum_.reset();
  if (rest_rounds_ > 0) --rest_rounds_;
  if (!lowest) return;
  const bool raised = is_raised(*lowest);
  if (cap_) {
    if (raised && ++capped_rounds_ < capped_rounds + 1) return;  // the first still sees what was sent before
    // A queue of ours would have shrunk with what is in flight, by half.
    if (raised && *lowest > doubted_ - doubted_ / 8) restart(now, *lowest);
    cap_.reset();
    raised_rounds_ = 0;
    rest_rounds_ = rest_after_doubt;
    return;
  }
  raised_rounds_ = raised && !round.content ? raised_rounds_ + 1 : 0;
  if (raised_rounds_ < raised_rounds_max || rest_rounds_ > 0) return;
  doubted_ = *lowest;
  cap_ = round.in_flight_max / 2;
  capped_rounds_ = 0;
}

}  // namespace penstock::engine
