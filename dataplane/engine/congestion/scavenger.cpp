#include "dataplane/engine/congestion/scavenger.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "dataplane/engine/congestion/cubic.h"

namespace penstock::engine {
namespace {

__extension__ using Wide = unsigned __int128;
using std::chrono::milliseconds;

// Tuning. Less delay: a scheduler's hiccup looks like company; more: others have to queue behind us.
constexpr Duration target_min = milliseconds{2};
constexpr Duration target_max = milliseconds{25};
// Of the round trip. A larger share: beside cubic in half a BDP of queue more than a tenth is taken; a smaller one: a
// path of one's own is left emptier.
constexpr std::int64_t target_divisor = 12;
constexpr std::uint64_t growth_divisor = 16;  // of the window, a round trip, with no queue at all
constexpr Duration probe_interval = std::chrono::seconds{10};
constexpr Duration probe_length_min = milliseconds{20};
constexpr std::uint64_t window_max = 4 * GiB;
constexpr Duration rate_rtt_min = std::chrono::microseconds{10};

std::uint64_t share(std::uint64_t bytes, Duration part, Duration whole) {
  return static_cast<std::uint64_t>(Wide{bytes} * static_cast<std::uint64_t>(part.count()) /
                                    static_cast<std::uint64_t>(whole.count()));
}

}  // namespace

Scavenger::Scavenger(std::uint64_t datagram_bytes, Duration initial_rtt)
    : datagram_(datagram_bytes),
      initial_rtt_(initial_rtt),
      cwnd_(initial_window_packets * datagram_bytes / 4),  // who gives way does not begin with a burst
      smoothed_rtt_(initial_rtt) {}

Duration Scavenger::target() const { return std::clamp(floor_.minimum() / target_divisor, target_min, target_max); }

void Scavenger::on_packets_sent(TimePoint now, PacketNumber last, std::uint64_t bytes, std::uint64_t in_flight) {
  log_.on_sent(now, last, bytes, in_flight, Pace::level, smoothed_rtt_ / 64);
  peak_in_flight_ = std::max(peak_in_flight_, in_flight);
}

void Scavenger::on_packets_lost(const LostSample& sample) {
  // No persistent congestion: PROTOCOL section 4.
  if (log_.delivered() > 0 && is_outage(sample.now - log_.delivered_at(), smoothed_rtt_)) return;
  const std::uint64_t excused =
      receiver_.excuse(sample.now, sample.packets, {.cwnd = cwnd_, .least = window_min(), .round_trip = smoothed_rtt_});
  if (excused == sample.packets) return;
  log_.on_lost(sample.bytes / sample.packets * (sample.packets - excused));
  if (excused > 0) return;  // which of them were the path's is not known
  pending_ += {.packets = sample.packets, .lost = sample.packets, .runs = sample.numbers.size()};
}

void Scavenger::on_packets_marked(const MarkedSample& sample) {
  if (sample.begins) {
    cwnd_before_marks_ = cwnd_;
    slow_start_before_marks_ = slow_start_;
  }
  marked_ = true;
}

void Scavenger::on_marks_withdrawn(TimePoint) {
  cwnd_ = std::max(cwnd_, cwnd_before_marks_);
  slow_start_ = slow_start_before_marks_;
  marked_ = false;
}

void Scavenger::on_packets_acked(const AckedSample& sample, const RttEstimator& rtt) {
  smoothed_rtt_ = rtt.smoothed();
  log_.on_delivered(sample.now, sample.bytes);
  receiver_.on_acked(sample.now, cwnd_);
  LossTally tally = std::exchange(pending_, {});
  tally.packets += sample.packets;
  if (sample.rtt) {
    floor_.on_sample(sample.now, *sample.rtt);
    round_rtt_ = std::min(round_rtt_.value_or(*sample.rtt), *sample.rtt);
    if (floor_.is_near(*sample.rtt)) loss_.add(Pace::level, tally);
  }
  if (probe_until_ && sample.now >= *probe_until_) {
    probe_until_.reset();
    floor_.end_probe(sample.now);
  }
  if (slow_start_ && !probing() && 2 * peak_in_flight_ >= cwnd_) cwnd_ = std::min(window_max, cwnd_ + sample.bytes / 2);
  const auto flight = log_.sample(sample.now, sample.largest, sample.largest_sent_at);
  if (!flight || flight->delivered_at_departure < round_end_delivered_) return;
  round_end_delivered_ = log_.delivered();
  on_round(sample.now, *flight, std::exchange(peak_in_flight_, 0));
}

/// RFC 6817 section 2.4.2, once a round trip.
void Scavenger::on_round(TimePoint now, const DeliverySample& flight, std::uint64_t in_flight_peak) {
  const auto lowest = std::exchange(round_rtt_, std::nullopt);
  const std::uint64_t lost = flight.lost / datagram_;
  const LossTally tally{.packets = flight.delivered / datagram_ + lost, .lost = lost};
  const bool excess = std::exchange(marked_, false) || loss_.is_excess(tally);
  loss_.on_round(now);
  receiver_.on_round();
  if (probing()) return;
  if (excess) {
    slow_start_ = false;
    cwnd_ = std::max(cwnd_ / 2, window_min());
  } else if (lowest) {
    const Duration queue = *lowest - floor_.minimum();
    const Duration wanted = target();
    const bool again = std::exchange(above_, queue >= wanted);
    if (above_) {
      slow_start_ = false;
      // A queue of our own is gone when as much less is in flight; one that is still there a round trip later is
      // others': as far above the target as the target is above nothing, a half less.
      const Duration own = queue - wanted / 2;
      const Duration less = again ? std::min(queue - wanted, wanted) : own;
      const Duration of = again ? 2 * wanted : *lowest;
      cwnd_ = std::max(cwnd_ - share(cwnd_, less, of), window_min());
    } else if (!slow_start_ && 2 * in_flight_peak >= cwnd_) {  // a window that is not used says nothing
      const std::uint64_t most = std::max(cwnd_ / growth_divisor, datagram_);
      cwnd_ = std::min(window_max, cwnd_ + share(most, wanted - queue, wanted));
    }
  }
  if (now - floor_.confirmed_at() < probe_interval) return;
  floor_.begin_probe();
  probe_until_ = now + std::max(2 * smoothed_rtt_, probe_length_min);
}

DataRate Scavenger::pacing_rate(const RttEstimator& rtt) const {
  const Duration round = std::max(rtt.has_sample() ? rtt.smoothed() : initial_rtt_, rate_rtt_min);
  const std::uint64_t quarters = !rtt.has_sample() ? 4 : slow_start_ ? 8 : 5;
  const Wide bits = Wide{cwnd()} * quarters * 2 * 1'000'000'000 / static_cast<std::uint64_t>(round.count());
  return DataRate::bits_per_second(static_cast<std::uint64_t>(std::clamp<Wide>(bits, 8'000, 1'000'000'000'000)));
}

}  // namespace penstock::engine
