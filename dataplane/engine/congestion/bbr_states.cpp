#include <algorithm>

#include "dataplane/engine/congestion/bbr.h"
#include "dataplane/engine/congestion/bbr_tuning.h"

// The state machine of Bbr: when a state ends, and what the next one begins with. Source: draft-ietf-ccwg-bbr section
// "State Machine Operation".

namespace penstock::engine {

void Bbr::advance_state(const AckedSample& sample, const DeliverySample* flight) {
  const TimePoint now = sample.now;
  if (startup_doubted_ && round_start_ && flight != nullptr) settle_startup(*flight);
  switch (state_) {
    case State::startup:
      advance_startup(now, flight);
      break;
    case State::drain:
      if (stays_to_learn(now)) break;
      if (sample.in_flight <= bdp() || rounds_ > phase_round_ + bbr::drain_rounds_max) {
        begin_cycle(now);
        pick_wait(bbr::wait_rounds_first_min, bbr::wait_rounds_first_max);
        enter_cruise();
      }
      break;
    case State::down:
      if (awaiting_feedback_ && judge_probe(now)) break;
      advance_down(now, sample.in_flight);
      break;
    case State::cruise:
      if (awaiting_feedback_ && judge_probe(now)) break;
      if (is_time_to_probe(now)) enter_refill();
      break;
    case State::refill:
      if (round_start_ && rounds_ > phase_round_) enter_up(now, 0);
      break;
    case State::up:
      advance_up(now);
      break;
    case State::probe_rtt:
      advance_probe_rtt(sample);
      break;
  }
  const bool unconfirmed = now - rtt_floor_.confirmed_at() > bbr::probe_rtt_interval;
  if (unconfirmed && sample.rtt && state_ != State::probe_rtt && !rtt_floor_.in_flight_cap()) enter_probe_rtt();
}

/// Source: draft section "Startup"; ends on delay growth (PROTOCOL section 4), excess loss (react_to_loss), or after
/// three round trips without growth.
void Bbr::advance_startup(TimePoint now, const DeliverySample* flight) {
  if (round_start_ && flight != nullptr && !flight->app_limited) {
    const std::uint64_t most = max_bandwidth_.maximum();
    if (most >= growth_base_ / 4 * 5) {
      // More was sent, and as much more arrived: what was lost meanwhile was chance.
      if (startup_tally_.packets > 0) {
        loss_.add(Pace::level, startup_tally_);
        loss_.on_round(now);
      }
      growth_base_ = most;
      growth_stalled_ = 0;
    } else {
      ++growth_stalled_;
    }
    startup_tally_ = {};
  }
  if (is_queueing() || queue_.is_beginning(rtt_floor_.minimum()) || growth_stalled_ >= bbr::startup_stalled_rounds) {
    full_ = true;
    enter_drain(now);
    startup_doubted_ = growth_stalled_ < bbr::startup_stalled_rounds;
    doubt_ = Doubt{.raised = queue_.beginning_above(rtt_floor_.minimum())};
  }
}

/// Jitter may have looked like a queue. What startup sent last is acknowledged now: it would have met more of a queue
/// than anything before it. If it met none, lost little and carried more, startup goes on. Source: RFC 9406
/// section 4.2, which resumes slow start where the RTT falls back in its "conservative" phase.
void Bbr::settle_startup(const DeliverySample& flight) {
  startup_doubted_ = false;
  if (state_ != State::drain && state_ != State::cruise) return;
  const LossTally tally = tally_of(flight);
  // A queue that grew in less than half a round trip is seen only by what share of the samples it raised.
  const bool queued = doubt_.above * bbr::startup_queued_divisor >= doubt_.samples;
  const bool short_queue = tally.lost > loss_.forgiven(tally.packets) + tally.packets / bbr::startup_loss_divisor;
  if (is_queueing() || queued || short_queue || max_bandwidth_.maximum() < growth_base_ / 4 * 5) return;
  bounds_.bandwidth_short.reset();
  bounds_.in_flight_short.reset();
  full_ = false;
  growth_stalled_ = 0;
  startup_tally_ = {};
  state_ = State::startup;
  phase_round_ = rounds_;
}

/// Source: draft section "ProbeBW_UP". More is sent for one round trip, and what came of it shows in the next, already
/// in DOWN: so a probe never leaves more than a quarter of a BDP in the queue.
void Bbr::advance_up(TimePoint now) {
  if (!round_start_ || rounds_ == phase_round_) return;
  if (bounds_.in_flight_long && round_in_flight_peak_ + quantum() >= *bounds_.in_flight_long) {
    // Draft: ProbeInflightLongtermUpward: slowly at first, then ever faster.
    const std::int64_t datagrams = std::max<std::int64_t>(1, (now - cycle_at_) / bbr::long_step_time);
    const std::uint64_t least = datagram_ * static_cast<std::uint64_t>(datagrams) / lanes_;
    long_step_ = long_step_ == 0 ? std::max(least, *bounds_.in_flight_long / bbr::long_step_divisor) : 2 * long_step_;
    bounds_.in_flight_long = std::min(*bounds_.in_flight_long + long_step_, bbr::window_max);
  }
  enter_down(now);
}

/// What the last probe brought. True: it goes on.
bool Bbr::judge_probe(TimePoint now) {
  const std::uint64_t most = max_bandwidth_.maximum();
  const std::uint64_t gain = std::min<std::uint64_t>(up_percent() - 100, 50);
  const bool queueing = is_queueing();
  // With a queue only nearly all of what was tried counts: then it was taken from another flow that has more.
  if (most >= growth_base_ + growth_base_ * gain * (queueing ? 3 : 2) / 400) {
    if (!queueing) bounds_.in_flight_long.reset();  // there is more room now than that tells of
    gentle_ = false;
    large_ = false;
    enter_up(now, queueing ? 0 : std::min(up_step_ + 1, bbr::up_percents.size() - 1));
    return true;
  }
  if (round_start_ && rounds_ > probe_round_) {
    awaiting_feedback_ = false;
    // Elasticity: who has nearly all of a full path gains nearly nothing by sending more, but for the others' losses.
    large_ = most < growth_base_ + growth_base_ / 100 * (up_percent() - 100) / bbr::large_gain_divisor;
    gentle_ = most < growth_base_ + growth_base_ / 100 * (up_percent() - 100) / bbr::gentle_gain_divisor;
    if (most < growth_base_ + growth_base_ / 20 && !is_contended())
      fruitless_ = std::min(fruitless_ + 1, bbr::fruitless_max);
    pick_wait();
  }
  return false;
}

void Bbr::advance_down(TimePoint now, std::uint64_t in_flight) {
  if (is_time_to_probe(now)) return enter_refill();
  if (in_flight > bdp()) return;
  if (loss_.is_policed() && rounds_ <= phase_round_ + 1)
    return;  // the probe emptied a bucket instead of filling a queue
  if (!test_elasticity_) return enter_cruise();
  if (!test_until_)
    test_until_ = now + test_length();  // what leaves from now on meets no queue
  else if (now >= *test_until_)
    enter_cruise();
}

/// DOWN or DRAIN goes on, to see what is lost through a policer when clearly less is sent.
bool Bbr::stays_to_learn(TimePoint now) const {
  return (state_ == State::drain || state_ == State::down) && loss_.is_learning() &&
         now - cycle_at_ < std::max<Duration>(bbr::learning_max, bbr::learning_rtts * smoothed_rtt_);
}

/// As long as it takes to send so many packets that the share of them that is lost means something.
Duration Bbr::test_length() const {
  const std::uint64_t rate = std::max<std::uint64_t>(bandwidth(), 1);
  const Duration needed{static_cast<Duration::rep>(bbr::test_packets * datagram_ * 1'000'000 / rate * 1'000)};
  // Both come from the peer's word as well, so that nothing holds them in this order.
  const Duration least = rtt_floor_.minimum() / bbr::test_rtt_divisor;
  return std::clamp<Duration>(needed, least, std::max<Duration>(least, bbr::test_rtts_max * smoothed_rtt_));
}

void Bbr::enter_drain(TimePoint now) {
  state_ = State::drain;
  phase_round_ = rounds_;
  begin_cycle(now);
  begin_round();
}

void Bbr::enter_down(TimePoint now) {
  state_ = State::down;
  phase_round_ = probe_round_ = rounds_;
  awaiting_feedback_ = true;
  ++cycles_;
  filter_due_ = true;
  if (loss_.ppm() < bbr::elasticity_floor_ppm || loss_.is_policed()) {
    test_elasticity_ = false;
    test_wait_ = 0;
    test_after_ = cycles_;
  } else if (cycles_ > test_after_) {
    test_elasticity_ = true;
    test_wait_ = std::clamp<std::uint64_t>(2 * test_wait_, 1, bbr::elasticity_cycles_max);
    test_after_ = cycles_ + test_wait_;
  }
  test_until_.reset();
  begin_cycle(now);
  pick_wait();
  begin_round();
}

void Bbr::enter_cruise() {
  state_ = State::cruise;
  phase_round_ = rounds_;
  test_elasticity_ = false;
  test_until_.reset();
}

void Bbr::enter_refill() {
  awaiting_feedback_ = false;
  bounds_.bandwidth_short.reset();
  bounds_.in_flight_short.reset();
  state_ = State::refill;
  phase_round_ = rounds_;
  begin_round();
}

void Bbr::enter_up(TimePoint now, std::size_t step) {
  awaiting_feedback_ = false;
  test_until_.reset();
  if (step > 0 && !loss_.is_policed()) fruitless_ = 0;  // a full bucket lets any probe pass, once
  state_ = State::up;
  phase_round_ = rounds_;
  up_step_ = step;
  const bool recovering = queue_loss_at_ && now - *queue_loss_at_ < others_recover_;
  probe_gentle_ = (gentle_ || (step == 0 && recovering && large_)) && !share_.is_pressed(rounds_);
  growth_base_ = max_bandwidth_.maximum();
  begin_round();
}

/// Source: draft section "ProbeRTT Logic".
void Bbr::enter_probe_rtt() {
  awaiting_feedback_ = false;
  test_until_.reset();
  state_ = State::probe_rtt;
  phase_round_ = rounds_;
  probe_rtt_until_.reset();
  rtt_floor_.begin_probe();
  begin_round();
}

void Bbr::advance_probe_rtt(const AckedSample& sample) {
  log_.on_app_limited(sample.in_flight);  // draft: MarkConnectionAppLimited; so little tells no bandwidth
  if (!probe_rtt_until_) {
    if (sample.in_flight > std::max(bdp_times(50), window_min())) return;
    const Duration length =
        std::clamp(bbr::probe_rtt_rtts * rtt_floor_.minimum(), bbr::probe_rtt_min, bbr::probe_rtt_max);
    probe_rtt_until_ = sample.now + length;
    probe_rtt_round_ = rounds_ + 1;
    begin_round();
    return;
  }
  if (sample.now < *probe_rtt_until_ || rounds_ < probe_rtt_round_) return;
  rtt_floor_.end_probe(sample.now);
  bounds_.bandwidth_short.reset();
  bounds_.in_flight_short.reset();
  if (!full_) {
    state_ = State::startup;
    phase_round_ = rounds_;
    return;
  }
  begin_cycle(sample.now);
  pick_wait(bbr::wait_rounds_first_min, bbr::wait_rounds_first_max);
  enter_cruise();
}

void Bbr::begin_cycle(TimePoint now) {
  cycle_at_ = now;
  cycle_round_ = rounds_;
}

/// Who heeds no loss probes as often as he likes, and has what we do not claim.
void Bbr::pick_wait() {
  const std::uint32_t shift = share_.is_pressed(rounds_) ? 0 : fruitless_;
  pick_wait(bbr::wait_rounds_min << shift, bbr::wait_rounds_max << shift);
}

void Bbr::pick_wait(std::uint64_t rounds_min, std::uint64_t rounds_max) {
  wait_rounds_ = rng_.between(rounds_min, rounds_max);
  wait_percent_ = rng_.between(bbr::wait_percent_min, 100);
}

bool Bbr::is_time_to_probe(TimePoint now) const {
  const Duration since = now - cycle_at_;
  if (since < bbr::wait_min) return false;
  if (loss_.is_policed()) return rounds_ >= cycle_round_ + wait_rounds_ || since >= bbr::wait_max_policed;
  const Duration most = std::max<Duration>(bbr::wait_max, bbr::wait_rtts_at_least * rtt_floor_.minimum());
  const Duration longest = most / 100 * static_cast<std::int64_t>(wait_percent_);
  // A bound that chance may have set is not kept for a second where no queue speaks for it.
  const bool doubtful = bounds_.bandwidth_short && !is_queueing();
  const std::uint64_t wait = doubtful ? std::min(wait_rounds_, bbr::wait_rounds_max) : wait_rounds_;
  return rounds_ >= cycle_round_ + wait || since >= longest;
}

}  // namespace penstock::engine
