#include "dataplane/engine/congestion/bbr.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "dataplane/engine/congestion/bbr_tuning.h"
#include "dataplane/engine/congestion/cubic.h"

namespace penstock::engine {
namespace {

__extension__ using Wide = unsigned __int128;

std::uint64_t per_second(std::uint64_t bytes, Duration time) {
  const auto ns = static_cast<std::uint64_t>(std::max<Duration>(time, std::chrono::microseconds{10}).count());
  return static_cast<std::uint64_t>(Wide{bytes} * 1'000'000'000 / ns);
}

std::uint64_t during(std::uint64_t rate, Duration time) {
  const Wide bytes = Wide{rate} * static_cast<std::uint64_t>(time.count()) / 1'000'000'000;
  return static_cast<std::uint64_t>(std::min<Wide>(bytes, bbr::window_max));
}

/// The share of IP bytes that is UDP payload, which is what windows and samples count.
std::optional<DataRate> payload_of(std::optional<DataRate> wire, std::uint64_t datagram, std::uint64_t ip_overhead) {
  if (!wire) return std::nullopt;
  const std::uint64_t bytes = wire->bytes_per_second();
  return DataRate::bytes_per_second(static_cast<std::uint64_t>(Wide{bytes} * datagram / (datagram + ip_overhead)));
}

}  // namespace

Bbr::Bbr(std::uint64_t datagram_bytes, std::uint64_t ip_overhead, Duration initial_rtt, Rng rng,
         std::optional<DataRate> remembered, LanePlace place)
    : datagram_(datagram_bytes),
      ip_overhead_(ip_overhead),
      lanes_(place.lanes),
      rng_(rng),
      guide_(place),
      careful_(initial_window(), payload_of(remembered, datagram_bytes, ip_overhead), initial_rtt),
      cwnd_(careful_.window()),
      startup_rate_(per_second(cwnd_, initial_rtt)),
      smoothed_rtt_(initial_rtt) {}

void Bbr::on_packets_sent(TimePoint now, PacketNumber last, std::uint64_t bytes, std::uint64_t in_flight) {
  careful_.on_sent(last, bytes);
  next_number_ = last.value + 1;
  guide_.on_time(now, smoothed_rtt_);
  const Pace as = guide_.leader() ? guide_.leader()->pace : pace();
  log_.on_sent(now, last, bytes, in_flight, as, smoothed_rtt_ / bbr::records_a_round);
}

void Bbr::on_app_limited(std::uint64_t in_flight) {
  careful_.on_app_limited();
  log_.on_app_limited(in_flight);
  limited_until_ = log_.delivered() + log_.lost() + in_flight;
}

// --- losses ---------------------------------------------------------------------------------------------------------

void Bbr::on_packets_lost(const LostSample& sample) {
  if (!receiver_.explains(sample.packets)) retreat();
  // No persistent congestion: PROTOCOL section 4.
  if (log_.delivered() > 0 && is_outage(sample.now - log_.delivered_at(), smoothed_rtt_)) return;

  std::uint64_t packets = sample.packets;
  for (const bytes::Interval& run : sample.numbers) packets -= is_hole(run) ? run.size() : 0;
  if (packets == 0) return;
  const std::uint64_t excused =
      receiver_.excuse(sample.now, packets, {.cwnd = cwnd_, .least = window_min(), .round_trip = smoothed_rtt_});
  if (excused == packets) return;
  const std::uint64_t bytes = sample.bytes / sample.packets * (packets - excused);
  log_.on_lost(bytes);
  pending_lost_bytes_ += bytes;
  if (excused > 0) return;  // which of them were the path's is not known
  for (const bytes::Interval& run : sample.numbers) {
    if (!first_arrived_ || run.begin < *first_arrived_ || is_hole(run)) continue;  // the way was not open yet
    bool first = true;
    log_.for_each_pace(run, [&](Pace pace, std::uint64_t count) {
      pending_[static_cast<std::size_t>(pace)] += {.packets = count, .lost = count, .runs = first ? 1U : 0U};
      first = false;
    });
  }
}

/// Of what left before the first ACK came, some may have arrived while the peer had no lane for it yet, and was more
/// than it keeps until then. That is lost in one piece, which chance does not make, and few policers, which let
/// some through.
bool Bbr::is_hole(const bytes::Interval& lost) const {
  return (!way_known_from_ || lost.begin < *way_known_from_) && lost.size() >= bbr::hole_min;
}

/// The path is not what was remembered of it: from here on all is as on one that nobody knows.
void Bbr::retreat() {
  const auto window = careful_.on_lost();
  if (!window || full_) return;  // who has filled the path has a model of it
  cwnd_ = std::max(*window, window_min());
  startup_rate_ = per_second(cwnd_, smoothed_rtt_);
}

void Bbr::on_spurious_loss(TimePoint sent_at) {
  log_.on_spurious_loss(datagram_);
  if (!undo_ || sent_at > undo_->at) return;
  if (--undo_->losses > 0) return;
  bounds_ = undo_->bounds;
  queue_loss_at_ = undo_->queue_loss_at;
  go_back_to(std::exchange(undo_, std::nullopt)->state);
}

/// What ended that state proved to be nothing.
void Bbr::go_back_to(State was) {
  if (state_ == State::probe_rtt) return;
  if (was == State::startup && state_ != State::startup) {
    state_ = State::startup;
    full_ = false;
    growth_stalled_ = 0;
  } else if (was == State::up && state_ != State::up) {
    enter_refill();
  }
}

void Bbr::on_packets_marked(const MarkedSample& sample) {
  retreat();
  if (sample.begins) before_marks_ = state_;
  marks_ += sample.packets;
}

void Bbr::on_marks_withdrawn(TimePoint) {
  marks_ = 0;
  bounds_ = {};
  undo_.reset();
  gentle_ = large_ = false;
  fruitless_ = 0;
  go_back_to(before_marks_);
}

// --- an ACK ---------------------------------------------------------------------------------------------------------

void Bbr::on_packets_acked(const AckedSample& sample, const RttEstimator& rtt) {
  smoothed_rtt_ = rtt.smoothed();
  log_.on_delivered(sample.now, sample.bytes);
  if (careful_.on_acked(sample.largest, sample.bytes, sample.in_flight)) cwnd_ = std::min(cwnd_, careful_.window());
  if (sample.rtt) {
    rtt_floor_.on_sample(sample.now, *sample.rtt);
    queue_.on_sample(sample.now, *sample.rtt);
    if (startup_doubted_) doubt_.on_sample(*sample.rtt);
  }
  // Jitter raises most samples; a queue raises them all.
  if (sample.rtt && rtt_floor_.is_near(*sample.rtt)) near_seen_at_ = sample.now;
  const bool quiet = sample.now - near_seen_at_ <= smoothed_rtt_ / 2;
  undelayed_ = sample.rtt && rtt_floor_.confirms(*sample.rtt - std::min(*sample.rtt, queue_.noise()));
  if (!quiet) queue_seen_at_ = sample.now;
  if (sample.rtt && (rtt_floor_.is_near(*sample.rtt) || !is_queueing())) drained_round_ = rounds_;
  take_tallies(sample, quiet);
  round_in_flight_max_ = std::max(round_in_flight_max_, sample.in_flight + sample.bytes);

  const auto flight = log_.sample(sample.now, sample.largest, sample.largest_sent_at);
  round_start_ = false;
  if (flight) {
    update_bandwidth(sample, *flight);
    update_round(sample, *flight);
    react_to_loss(sample.now, *flight);
  }
  aggregation_.on_acked(sample.now, sample.bytes, bandwidth(), cwnd_);
  receiver_.on_acked(sample.now, cwnd_);
  advance_state(sample, flight ? &*flight : nullptr);
  update_window(sample, std::exchange(pending_lost_bytes_, 0));
  lead(sample.now);
}

/// What is known of random loss: from packets that met no queue and were not sent to find one.
void Bbr::take_tallies(const AckedSample& sample, bool quiet) {
  if (!first_arrived_ && !sample.numbers.empty()) {
    first_arrived_ = sample.numbers.front().begin;
    way_known_from_ = next_number_;
  }
  for (const bytes::Interval& run : sample.numbers) {
    log_.for_each_pace(
        run, [&](Pace pace, std::uint64_t count) { pending_[static_cast<std::size_t>(pace)].packets += count; });
  }
  if (quiet) {
    for (const Pace pace : {Pace::slowed, Pace::level}) loss_.add(pace, pending_[static_cast<std::size_t>(pace)]);
    const LossTally& probing = pending_[static_cast<std::size_t>(Pace::probing)];
    if (state_ == State::startup)
      startup_tally_ += probing;
    else if (cycles_ > 0 && undelayed_)  // a short queue overflows as well
      loss_.add(Pace::probing, probing);
  }
  pending_ = {};
}

LossTally Bbr::tally_of(const DeliverySample& flight) const {
  const std::uint64_t lost = flight.lost / datagram_;
  return {.packets = flight.delivered / datagram_ + lost, .lost = lost};
}

void Bbr::update_bandwidth(const AckedSample& sample, const DeliverySample& flight) {
  const std::uint64_t rate = rate_of(sample, flight);
  if (flight.interval < rtt_floor_.minimum()) return;
  if (!flight.app_limited || rate >= max_bandwidth_.maximum()) max_bandwidth_.on_sample(rate);
  bandwidth_latest_ = std::max(bandwidth_latest_, rate);
  delivered_latest_ = std::max(delivered_latest_, flight.delivered + flight.lost);
}

/// What the path carried of one flight, the share included that chance took of it: PROTOCOL section 4's 1 / (1 -
/// p_floor). Where no queue stood, all that is missing crossed the bottleneck, and is counted one by one: so the luck
/// of a flight, which the filter of maxima would pick out, changes nothing. Where one did, some of it may never have
/// entered: there no more than the mean share is added, and what was not sent to probe may be a little luckier than the
/// average alone.
std::uint64_t Bbr::rate_of(const AckedSample& sample, const DeliverySample& flight) {
  const std::uint64_t ppm = loss_.ppm();
  const bool quiet = sample.now - queue_seen_at_ > smoothed_rtt_;
  // Of so many as bring what arrived, on average: what is missing beyond that is not for chance to explain, and
  // counting it would make sending more look like carrying more.
  const auto arrived = static_cast<std::uint64_t>(Wide{flight.delivered} * 1'000'000 / (1'000'000 - ppm));
  const std::uint64_t packets = std::min(flight.delivered + flight.missing, arrived) / datagram_;
  if (ppm == 0 || quiet) return mean_rate_ = flight.rate(loss_.forgiven(packets) * datagram_);
  const auto mean = static_cast<std::uint64_t>(Wide{flight.rate(0)} * 1'000'000 / (1'000'000 - ppm));
  const std::uint64_t needed = std::max<std::uint64_t>(1, ppm / bbr::ppm_a_packet);
  const std::uint64_t weight = std::min(sample.packets, needed);
  mean_rate_ = static_cast<std::uint64_t>((Wide{mean_rate_} * (needed - weight) + Wide{mean} * weight) / needed);
  const std::uint64_t crossed = flight.rate(packets * ppm / 1'000'000 * datagram_);
  return flight.pace == Pace::probing ? crossed : std::min(crossed, mean_rate_ / 100 * bbr::luck_percent);
}

void Bbr::update_round(const AckedSample& sample, const DeliverySample& flight) {
  if (flight.delivered_at_departure < round_end_delivered_) return;
  round_start_ = true;
  ++rounds_;
  begin_round();
  on_round(sample, flight);
}

void Bbr::on_round(const AckedSample& sample, const DeliverySample& flight) {
  limited_rounds_ = log_.delivered() + log_.lost() < limited_until_ ? limited_rounds_ + 1 : 0;
  receiver_.on_round();
  const std::uint64_t floor_before = loss_.ppm();
  loss_.on_round(sample.now);
  // Loss that was our own doing had made the rate look higher than it is.
  if (loss_.ppm() + bbr::floor_step_ppm < floor_before)
    max_bandwidth_.scale(1'000'000 - floor_before, 1'000'000 - loss_.ppm());
  // What was taken for congestion is known to be chance: the bounds that it set go.
  if (loss_.ppm() > floor_before + bbr::floor_step_ppm && !is_queueing()) {
    bounds_.bandwidth_short.reset();
    bounds_.in_flight_short.reset();
  }
  if (loss_.was_ours()) test_wait_ = test_after_ = 0;  // there may be more of it

  const bool own_queue =
      state_ == State::startup || state_ == State::drain || state_ == State::up || state_ == State::probe_rtt;
  const bool stuck = state_ == State::down && rounds_ >= phase_round_ + bbr::down_rounds_doubtful;
  // The window alone holds us back, though it is large enough for others' queue: then it may be too small for the path.
  const bool window_bound =
      is_contended() && round_in_flight_max_ + quantum() >= bdp_times(bbr::window_percent_contended);
  const bool starved = (bandwidth_latest_ < max_bandwidth_.maximum() / 4 * 3 || window_bound) && !flight.app_limited;
  // Others who take what they can get are why the queue does not drain, and why less arrives.
  const bool explained = own_queue || (share_.is_pressed(rounds_) && !window_bound);
  rtt_floor_.on_round(sample.now, {.in_flight_max = std::max(round_in_flight_max_, window_min()),
                                   .content = explained || !(stuck || starved)});
  queue_.on_round();
  aggregation_.on_round(full_ ? bbr::aggregation_half_rounds : 1);
  if (filter_due_ && rounds_ > cycle_round_) {
    filter_due_ = false;
    if (!flight.app_limited) max_bandwidth_.advance();
    max_bandwidth_.on_sample(bandwidth_latest_);
  }
  // What others took is theirs. A maximum of two cycles would hold on to it for seconds, and so, with a queue that
  // never drains, would whoever came first.
  const bool steady = state_ == State::cruise && rounds_ > phase_round_ + 1 && flight.pace != Pace::probing;
  const bool longer_path = starved && rtt_floor_.is_doubtful();
  if (steady && is_contended() && !flight.app_limited && !longer_path) {
    // Who holds on to the best of ten round trips (BBR) keeps what we give up for one that was bad.
    const bool pressed = share_.is_pressed(rounds_);
    max_bandwidth_.limit(pressed ? std::max(bandwidth_latest_, bandwidth_before_) : bandwidth_latest_);
  }
  watch_share(flight);
  bandwidth_before_ = bandwidth_latest_;
  round_in_flight_peak_ = round_in_flight_max_;
  round_in_flight_max_ = 0;
  bandwidth_latest_ = mean_rate_;
  delivered_latest_ = flight.delivered + flight.lost;
}

void Bbr::watch_share(const DeliverySample& flight) {
  if (!full_ || state_ == State::startup || flight.app_limited) return share_.begin_anew();
  share_.on_round(
      rounds_,
      {.bandwidth = bandwidth(), .in_flight = round_in_flight_max_ / datagram_ * lanes_, .contended = is_contended()});
  if (!share_.is_pressed(rounds_)) return;
  bounds_.in_flight_long.reset();  // nobody else makes room
  large_ = false;
}

bool Bbr::is_contended() const { return rounds_ >= drained_round_ + bbr::contended_rounds; }

bool Bbr::is_queueing() const { return queue_.is_queueing(smoothed_rtt_, rtt_floor_.minimum()); }

// --- congestion -----------------------------------------------------------------------------------------------------

void Bbr::remember(TimePoint now, std::uint64_t lost) {
  undo_ = Undo{.bounds = bounds_,
               .queue_loss_at = queue_loss_at_,
               .state = state_,
               .at = now,
               .losses = std::max<std::uint64_t>(1, lost)};
}

/// Source: draft sections "Probing for Bandwidth In ProbeBW" and "When not Probing for Bandwidth"; but only loss above
/// what chance takes counts, and once a round trip.
void Bbr::react_to_loss(TimePoint now, const DeliverySample& flight) {
  const LossTally tally = tally_of(flight);
  // Draft: LossThresh, 2 %, ends a probe; without one, any loss is congestion.
  const bool probing = state_ == State::startup || state_ == State::refill || state_ == State::up || awaiting_feedback_;
  const std::uint64_t tolerated = probing ? tally.packets / loss_threshold_divisor : 0;
  // Chance marks nothing: there is no floor to forgive it.
  const bool marked = marks_ > tolerated;
  if (round_start_) marks_ = 0;
  const std::uint64_t forgiven = loss_.forgiven(tally.packets);
  const bool lossy = tally.lost > forgiven + std::max<std::uint64_t>(1, tolerated);
  if (rounds_ <= reacted_round_ || state_ == State::probe_rtt || (!marked && !lossy)) return;
  if (!marked && stays_to_learn(now)) return;  // it sends little enough, and goes on doing so
  // Loss that comes while more is delivered all the same is no sign of a full path; a mark comes from a queue. But the
  // queue that marks who has next to nothing to send is others', and what he has seen arrive is not what he could send.
  // Of a handful of packets two may be lost anywhere.
  const bool growing = !round_start_ || max_bandwidth_.maximum() >= growth_base_ / 4 * 5;
  const bool small = flight.in_flight_at_departure < initial_window() / 2;
  const bool by_chance = !LossFloor::is_beyond_chance(startup_tally_);
  if (state_ == State::startup && (marked ? flight.app_limited || small : (growing || small) && by_chance)) return;
  if (marked)
    undo_.reset();  // losses that were none take back nothing for which there is another reason
  else
    remember(now, tally.lost - forgiven);
  if (lossy && is_queueing()) {
    queue_loss_at_ = now;
    others_recover_ = cubic_recovery(flight.in_flight_at_departure / datagram_ * lanes_) * bbr::recovery_percent / 100;
  }
  react_to_excess(now, flight, marked);
  marks_ = 0;
  reacted_round_ = rounds_ + 1;  // what is under way was sent before
}

void Bbr::react_to_excess(TimePoint now, const DeliverySample& flight, bool marked) {
  const bool probing = state_ == State::refill || state_ == State::up || awaiting_feedback_;
  if (state_ == State::startup) {
    // Jitter hides a short queue that fills and drains within a round trip.
    const bool calm = queue_.unrest() <= rtt_floor_.minimum() / bbr::calm_divisor;
    if (!marked && undelayed_ && calm && LossFloor::is_beyond_chance(startup_tally_)) loss_.suspect_policer();
    bounds_.in_flight_long = std::max(flight.in_flight_at_departure, bdp());
    full_ = true;
    enter_drain(now);
  } else if (probing) {
    const bool suspect = !marked && !is_queueing();
    // Where chance takes much and no queue is to be seen, it may have been a burst of bad luck.
    const bool lossy = loss_.ppm() >= bbr::elasticity_floor_ppm;
    if (!flight.app_limited && !(suspect && lossy) && !share_.is_pressed(rounds_)) {
      const std::uint64_t target = std::min(bdp(), cwnd_);
      bounds_.in_flight_long =
          std::max({flight.in_flight_at_departure / 100 * bbr::long_bound_percent, target / 10 * 7, bdp()});
      long_step_ = 0;
    }
    if (suspect || marked) {
      // No queue that was full: a policer, perhaps. What it drops of one probe it drops of the next; and a short queue
      // marks others as well, who give way each time.
      gentle_ = true;
      fruitless_ = std::min(fruitless_ + 1, bbr::fruitless_max);
    }
    if (state_ != State::down) enter_down(now);
    awaiting_feedback_ = false;
    test_elasticity_ = test_elasticity_ || (suspect && lossy);
  } else {
    // Raised by more, it may as well be a path that has become longer.
    const bool shallow = is_queueing() && !rtt_floor_.is_raised(smoothed_rtt_);
    if (!marked && (is_contended() || shallow) && !flight.app_limited && !share_.is_pressed(rounds_)) make_room(flight);
    bound_short(marked);
  }
}

/// Others lost as well, and need seconds to be back: what they gave up must not be ours by then.
void Bbr::make_room(const DeliverySample& flight) {
  const std::uint64_t cut = std::max(flight.in_flight_at_departure / 100 * bbr::room_bound_percent, bdp());
  if (bounds_.in_flight_long && *bounds_.in_flight_long <= cut) return;
  bounds_.in_flight_long = cut;
  long_step_ = 0;
}

void Bbr::bound_short(bool marked) {
  const bool was_cut = is_cut();
  const std::uint64_t rate = bounds_.bandwidth_short.value_or(max_bandwidth_.maximum());
  const std::uint64_t volume = bounds_.in_flight_short.value_or(cwnd_);
  bounds_.bandwidth_short = std::max(bandwidth_latest_, rate / 10 * 7);
  bounds_.in_flight_short = std::max(delivered_latest_, volume / 10 * 7);
  if (!was_cut && is_cut()) cut_round_ = rounds_;
  if (!marked) return;
  // What arrives in a round trip fills the queue as well, which is to be emptied.
  bounds_.in_flight_short = std::max(bdp(), *bounds_.in_flight_short / 100 * bbr::marked_percent);
}

// --- what may leave -------------------------------------------------------------------------------------------------

std::uint64_t Bbr::bandwidth() const {
  const std::uint64_t most = max_bandwidth_.maximum();
  return std::min(most, bounds_.bandwidth_short.value_or(most));
}

bool Bbr::is_cut() const { return bandwidth() < max_bandwidth_.maximum() / 100 * bbr::cut_percent_policed; }

std::uint64_t Bbr::window_min() const {
  return std::max<std::uint64_t>(bbr::window_min_packets / lanes_, 2) * datagram_;
}

std::uint64_t Bbr::initial_window() const {
  return std::max<std::uint64_t>(initial_window_packets / lanes_, 2) * datagram_;
}

std::uint64_t Bbr::quantum() const {
  const std::uint64_t millisecond = during(bandwidth(), std::chrono::milliseconds{1});
  return std::max(2 * datagram_, std::min<std::uint64_t>(64 * KiB, millisecond));
}

std::uint64_t Bbr::bdp_times(std::uint64_t percent) const {
  if (rtt_floor_.minimum() == Duration{}) return initial_window();
  // Jitter holds packets as well: of what the calmest round trips differ by, a min_rtt's worth at most.
  const Duration least = rtt_floor_.minimum();
  return static_cast<std::uint64_t>(Wide{during(bandwidth(), least + std::min(queue_.noise(), least))} * percent / 100);
}

/// With the offload budget: what the hosts themselves hold back in batches is no queue.
std::uint64_t Bbr::bdp() const { return std::max({bdp_times(100), bbr::offload_quanta * quantum(), window_min()}); }

Pace Bbr::pace() const {
  switch (state_) {
    case State::startup:
    case State::up:
      return Pace::probing;
    case State::drain:
    case State::down:
    case State::probe_rtt:
      return Pace::slowed;
    default:
      if (loss_.is_policed())
        return is_cut() && rounds_ <= cut_round_ + bbr::cut_rounds_policed ? Pace::slowed : Pace::level;
      return bandwidth() < max_bandwidth_.maximum() / 20 * 19 ? Pace::slowed : Pace::level;
  }
}

std::uint64_t Bbr::up_percent() const { return probe_gentle_ ? bbr::up_percent_gentle : bbr::up_percents[up_step_]; }

std::uint64_t Bbr::pacing_percent() const {
  switch (state_) {
    case State::startup:
      return bbr::startup_percent;
    case State::drain:
      return bbr::drain_percent;
    case State::down:
      if (!test_until_) return bbr::down_percent;
      return (1'000'000 - loss_.ppm()) / 10'000 - bbr::test_margin_percent;  // what arrives, and a little less
    case State::up:
      return up_percent();
    case State::cruise:
      if (loss_.is_policed()) return bbr::cruise_percent_policed;
      return is_contended() ? 100 : bbr::cruise_percent;  // the queue is not ours to drain
    default:
      return 100;
  }
}

/// Bytes of UDP payload a second, by its own model.
std::uint64_t Bbr::rate() const {
  const auto rate = static_cast<std::uint64_t>(Wide{bandwidth()} * pacing_percent() / 100);
  return full_ ? rate : std::max(rate, startup_rate_);
}

DataRate Bbr::pacing_rate(const RttEstimator&) const {
  const std::uint64_t rate = guide_.leader() ? as_led(guide_.leader()->rate) : this->rate();
  // Samples are bytes of UDP payload; the pacer counts IP headers as well.
  const Wide wire = Wide{rate} * (datagram_ + ip_overhead_) / datagram_;
  return DataRate::bytes_per_second(static_cast<std::uint64_t>(std::clamp<Wide>(wire, bbr::rate_min, bbr::rate_max)));
}

std::optional<PathEstimate> Bbr::estimate() const {
  const std::uint64_t most = max_bandwidth_.maximum();
  if (most == 0) return std::nullopt;
  const Wide wire = Wide{most} * (datagram_ + ip_overhead_) / datagram_;
  return PathEstimate{
      .rate = DataRate::bytes_per_second(static_cast<std::uint64_t>(std::min<Wide>(wire, bbr::rate_max))),
      .filled = full_};
}

/// Source: draft section "Congestion Window". Once the path was full the window follows the model at once: the pacer
/// sees to it that nothing leaves in a burst.
void Bbr::update_window(const AckedSample& sample, std::uint64_t lost_bytes) {
  const std::uint64_t percent = is_contended()        ? bbr::window_percent_contended
                                : state_ == State::up ? bbr::window_percent_up
                                                      : bbr::window_percent;
  const std::uint64_t wanted =
      std::max({bdp_times(percent) + aggregation_.extra(), bbr::offload_quanta * quantum(), window_min()});
  if (full_) {
    cwnd_ = wanted;
  } else {
    // The samples of the first round trips still hold the time before anything arrived: the window tells more, unless
    // it was remembered.
    startup_rate_ = std::max(startup_rate_, static_cast<std::uint64_t>(Wide{bandwidth()} * bbr::startup_percent / 100));
    if (!careful_.holds())
      startup_rate_ = std::max(startup_rate_, per_second(cwnd_ / 100 * bbr::startup_window_percent, smoothed_rtt_));
    // What is lost has left the path as well; a quarter of all at most is believed to be chance.
    const std::uint64_t left = sample.bytes + std::min(lost_bytes, sample.bytes / 3);
    const bool room =
        cwnd_ < std::max(wanted, bdp_times(bbr::window_percent_startup)) || log_.delivered() < initial_window();
    if (room && !careful_.holds()) cwnd_ += left * bbr::startup_growth_percent / 100;
  }
  // A BDP, and what ACKs bring in lumps, keeps no queue: below it a false alarm would cost rate for seconds.
  const std::uint64_t harmless = bdp() + aggregation_.extra();
  std::uint64_t cap = bbr::window_max;
  if (bounds_.in_flight_long && state_ != State::startup) {
    const bool headroom = state_ == State::cruise || state_ == State::probe_rtt;  // draft: Headroom, 15 %
    cap = std::max(*bounds_.in_flight_long / 100 * (headroom ? 85 : 100), harmless);
  }
  if (bounds_.in_flight_short && state_ != State::refill && state_ != State::up)
    cap = std::min(cap, *bounds_.in_flight_short);
  if (state_ == State::probe_rtt) cap = std::min(cap, bdp_times(50));
  if (const auto doubt = rtt_floor_.in_flight_cap()) cap = std::min(cap, *doubt);
  if (const auto taken = receiver_.bytes()) cap = std::min(cap, *taken);
  cwnd_ = std::max(std::min(cwnd_, cap), window_min());
}

}  // namespace penstock::engine
