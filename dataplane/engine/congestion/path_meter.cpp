#include "dataplane/engine/congestion/path_meter.h"

#include <algorithm>
#include <chrono>

#include "dataplane/engine/ack/rtt_estimator.h"

namespace penstock::engine {
namespace {

using std::chrono::milliseconds;

// Tuning. Packets that make a figure: with fewer, chance alone looks like a path that is full (64 at 10 % loss: the
// growth of a step is off by 6 %, standard deviation); with more, slow paths take long.
constexpr std::uint64_t figure_packets = 64;
// The first step takes so long, or a round trip. Shorter begins faster, and fills a modem's queue.
constexpr Duration first_step = milliseconds{200};
constexpr Duration step_min = milliseconds{50};  // a scheduler's hiccup of 10 ms is a fifth of it
constexpr Duration hold_min = milliseconds{300};
constexpr Duration hold_for_packets_max = milliseconds{1000};
// From this round trip on waiting costs more than overshooting.
constexpr Duration long_rtt = milliseconds{100};
constexpr Duration load_max = milliseconds{1500};
constexpr int load_round_trips_max = 8;
// Loss is counted for so long, or over so many packets or bytes: 20 000 packets tell 2 % to a tenth of a percent.
constexpr Duration calm_max = milliseconds{1000};
constexpr std::uint64_t calm_packets_max = 20'000;
constexpr std::uint64_t calm_bytes_max = 128 * MiB;
// A step in which we sent hardly more than in the one before, or less arrived, is done again. A machine that is simply
// not faster costs so many steps.
constexpr int slow_steps_max = 2;
constexpr int holds_repeated_max = 1;
constexpr std::uint64_t certain = 1024;  // shares are 1024ths
// What a path is taken to deliver until it was seen to deliver more. Higher: one that loses more than that looks full
// at once; lower: a modem that the first step overruns has to prove it by a second one, whose queue takes seconds.
constexpr std::uint64_t carried_prior = certain * 3 / 5;
// As for `fixed`: in flight is what the rate makes in two round trips and this, lest a dead path is shouted at.
constexpr Duration slack = milliseconds{100};
constexpr Duration rtt_max = std::chrono::seconds{10};

constexpr DataRate scaled(DataRate rate, std::uint64_t by, std::uint64_t of) {
  return DataRate::bits_per_second(rate.bits_per_second() * by / of);
}
DataRate rate_of(std::uint64_t bytes, Duration time) {
  __extension__ using Wide = unsigned __int128;
  return DataRate::bits_per_second(
      static_cast<std::uint64_t>(Wide{bytes} * 8'000'000'000 / static_cast<std::uint64_t>(time.count())));
}
constexpr std::uint64_t growth(Duration rtt_min) { return rtt_min >= long_rtt ? 4 : 2; }

}  // namespace

PathMeter::PathMeter(std::uint64_t datagram_bytes, std::uint64_t ip_overhead, Duration initial_rtt)
    : datagram_(datagram_bytes),
      ip_overhead_(ip_overhead),
      rate_(start_rate(initial_rtt)),
      cwnd_(2 * figure_packets * datagram_bytes),
      carried_best_(carried_prior) {}

DataRate PathMeter::start_rate(Duration rtt) const {
  return rate_of(figure_packets * (datagram_ + ip_overhead_), std::max(first_step, std::min(rtt, rtt_max)));
}

Duration PathMeter::time_for_packets(std::uint64_t packets, DataRate rate) const {
  return rate.time_for(packets * (datagram_ + ip_overhead_));
}

void PathMeter::on_packets_sent(TimePoint, PacketNumber, std::uint64_t bytes, std::uint64_t in_flight) {
  in_flight_ = in_flight;
  if (phase_ == Phase::calm) calm_bytes_ += bytes;
}

void PathMeter::on_packets_acked(const AckedSample& sample, const RttEstimator& rtt) {
  delivered_ += sample.bytes + sample.packets * ip_overhead_;
  if (calm_started_) report_.packets += sample.packets;
  if (phase_ == Phase::waiting) {
    rate_ = start_rate(rtt.minimum());
    if (!sample.app_limited) {
      load_started_ = sample.now;
      phase_ = Phase::ramp;  // its first step has begun with the first packet
    }
  } else if (sample.app_limited && sample.largest > newest_bulk_) {
    on_exhausted(sample.now, rtt.minimum());
  }
  if (!sample.app_limited) newest_bulk_ = std::max(newest_bulk_, sample.largest);
  if (phase_ == Phase::ramp || phase_ == Phase::hold) measure(sample, rtt);
  on_resolved(sample.now, sample.bytes);
  const bool sends = phase_ <= Phase::hold || phase_ == Phase::calm;
  cwnd_ = sends
              ? std::max(2 * figure_packets * datagram_, rate_.bytes_in(2 * std::min(rtt.smoothed(), rtt_max) + slack))
              : 0;
}

/// There is nothing left to measure with.
void PathMeter::on_exhausted(TimePoint now, Duration rtt_min) {
  exhausted_ = true;
  // Where the path outran what the far end takes, two round trips went by in each step.
  if (!report_.rate && delivered_most_ > DataRate{} && 2 * rtt_min <= step_min) report_.rate = delivered_most_;
  if (phase_ == Phase::ramp || phase_ == Phase::hold || phase_ == Phase::calm) enter(Phase::settle, now, rate_);
}

/// From one acknowledgement to another: the first and the last of a window are told exactly, wherever it begins. The
/// longer of the times that sending and arriving took counts: an acknowledgement read late shortens one of them alone.
void PathMeter::measure(const AckedSample& sample, const RttEstimator& rtt) {
  if (!window_) {
    if (sample.largest_sent_at >= phase_started_)
      window_ = Window{sample.now, sample.largest_sent_at, sample.largest, delivered_};
    return;
  }
  const Duration arriving = sample.now - window_->opened;
  const Duration sending = sample.largest_sent_at - window_->first_sent_at;
  if (arriving < window_wanted(rtt.minimum()) || sending <= Duration{} || sample.largest <= window_->first) return;
  const std::uint64_t sent = (sample.largest.value - window_->first.value) * (datagram_ + ip_overhead_);
  const Figure figure{.offered = rate_of(sent, sending),
                      .delivered = rate_of(delivered_ - window_->delivered_before, std::max(arriving, sending))};
  // The share that arrived; of the best step it is what the path's own loss leaves.
  const std::uint64_t carried = std::min(certain, figure.delivered.bits_per_second() * certain /
                                                      std::max<std::uint64_t>(1, figure.offered.bits_per_second()));
  carried_best_ = std::max(carried_best_, carried);
  const bool window_full = in_flight_ + datagram_ > cwnd_;  // what holds us back then is a queue, our pacer it is not
  if (phase_ == Phase::ramp)
    on_step_measured(sample.now, figure, window_full || carried * 20 < carried_best_ * 17, rtt.minimum());
  else
    on_hold_measured(sample.now, figure, window_full || carried * 10 < carried_best_ * 9, rtt.minimum());
}

Duration PathMeter::window_wanted(Duration rtt_min) const {
  if (phase_ == Phase::ramp) return std::max({step_min, rtt_min / 4, time_for_packets(figure_packets, rate_)});
  return std::max({hold_min, 2 * rtt_min, std::min(time_for_packets(figure_packets, rate_), hold_for_packets_max)});
}

bool PathMeter::may_still_load(TimePoint now, Duration rtt_min) const {
  return now - load_started_ < load_max + load_round_trips_max * rtt_min;
}

void PathMeter::on_step_measured(TimePoint now, const Figure& figure, bool full, Duration rtt_min) {
  // Less left than was meant, or less arrived than did before: nothing that more traffic does to a path.
  const bool slow = (offered_before_ && figure.offered < scaled(*offered_before_, 6 * growth(rtt_min), 10)) ||
                    figure.delivered < scaled(delivered_most_, 17, 20);
  slow_steps_ = slow ? slow_steps_ + 1 : 0;
  delivered_most_ = std::max(delivered_most_, figure.delivered);
  if ((full && !slow) || slow_steps_ > slow_steps_max || !may_still_load(now, rtt_min)) {
    // Above what the path carries, with its own loss made up for.
    return enter(Phase::hold, now, scaled(delivered_most_, 4 * certain, 3 * carried_best_));
  }
  if (slow) return enter(Phase::ramp, now, rate_);
  offered_before_ = figure.offered;
  enter(Phase::ramp, now, scaled(rate_, growth(rtt_min), 1));
}

void PathMeter::on_hold_measured(TimePoint now, const Figure& figure, bool full, Duration rtt_min) {
  if (!report_.rate || *report_.rate < figure.delivered) report_.rate = figure.delivered;
  delivered_most_ = std::max(delivered_most_, figure.delivered);
  if (figure.delivered < scaled(delivered_most_, 17, 20) && holds_repeated_++ < holds_repeated_max)
    return enter(Phase::hold, now, rate_);
  // All of it arrived: what looked like a full path was a hiccup. But a machine that is not faster is no hiccup.
  if (!full && slow_steps_ <= slow_steps_max && may_still_load(now, rtt_min)) {
    offered_before_ = figure.offered;
    return enter(Phase::ramp, now, scaled(figure.offered, growth(rtt_min), 1));
  }
  enter(Phase::drain, now, rate_);
}

void PathMeter::enter(Phase phase, TimePoint now, DataRate rate) {
  phase_ = phase;
  phase_started_ = now;
  window_.reset();
  rate_ = std::max(rate, DataRate::bits_per_second(1));
}

/// Packets arrived or are lost: perhaps they were the last on their way.
void PathMeter::on_resolved(TimePoint now, std::uint64_t bytes) {
  in_flight_ -= std::min(in_flight_, bytes);
  if (phase_ == Phase::calm &&
      (now - phase_started_ >= calm_max || report_.packets >= calm_packets_max || calm_bytes_ >= calm_bytes_max))
    enter(Phase::settle, now, rate_);
  if (in_flight_ > 0) return;
  if (phase_ == Phase::drain && !exhausted_) {
    enter(Phase::calm, now, scaled(*report_.rate, 3, 5));
    calm_started_ = now;
  } else if (phase_ == Phase::settle || phase_ == Phase::drain) {
    enter(Phase::finished, now, rate_);
    report_.finished = true;
  }
}

void PathMeter::on_packets_lost(const LostSample& sample) {
  if (calm_started_) {
    report_.packets += sample.packets;
    report_.packets_lost += sample.packets;
  }
  on_resolved(sample.now, sample.bytes);
  if (phase_ == Phase::calm) cwnd_ = std::max(cwnd_, 2 * figure_packets * datagram_);  // the ACK says how much
  if (phase_ == Phase::settle || phase_ == Phase::finished) cwnd_ = 0;
}

void PathMeter::on_spurious_loss(TimePoint sent_at) {
  if (calm_started_ && sent_at >= *calm_started_ && report_.packets_lost > 0) --report_.packets_lost;
}

}  // namespace penstock::engine
