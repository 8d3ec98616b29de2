#include "tests/sim/completion_bound.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>

#include "dataplane/engine/lane_config.h"

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using netem::Probability;

/// What there is to move, beside the ideal's single number.
struct Work {
  std::uint64_t bytes = 0;  // of all lanes, repairs included
  std::uint64_t wire_bytes = 0;
  std::uint64_t packets_longest = 0;  // of the longest lane
  std::uint64_t wire_bytes_longest = 0;
  Duration latest_start{0};         // when the last byte may be sent
  std::uint64_t repair_rounds = 0;  // of the lane that has most

  void add(const LanePlan& plan, const Options& options) {
    // The most that control messages can come to travels in the same packets.
    std::uint64_t needed = plan.bytes + plan.messages * plan.message_size_max;
    for (const auto& round : plan.repairs) {
      for (const TransferRange& range : round) needed += range.size();
    }
    const std::uint64_t packets = needed / (options.udp_payload_size - engine::packet_overhead_max) + 1;
    bytes += needed;
    wire_bytes += packets * (options.udp_payload_size + 28);
    packets_longest = std::max(packets_longest, packets);
    wire_bytes_longest = std::max(wire_bytes_longest, packets * (options.udp_payload_size + 28));
    latest_start = std::max(latest_start, plan.start_after + (plan.offers - 1) * plan.offer_gap);
    repair_rounds = std::max<std::uint64_t>(repair_rounds, plan.repairs.size());
  }
};

/// The longest that an acknowledgement waits: PROTOCOL section 3.
Duration engine_ack_interval(Duration rtt) { return std::clamp<Duration>(rtt / 8, 500us, 25ms); }

/// Share of datagrams that do not arrive whole, in ppm, with bursts at their mean share.
std::uint64_t loss_ppm(const Options& options, Probability loss, const std::optional<netem::BurstLoss>& burst) {
  const auto ppm = [](Probability p) { return std::uint64_t{p.parts_per_billion()} / 1000; };
  std::uint64_t passed = (1'000'000 - ppm(loss)) * (1'000'000 - ppm(options.corrupt)) / 1'000'000;
  if (burst) {
    const std::uint64_t bad = ppm(burst->to_bad) * 1'000'000 / (ppm(burst->to_bad) + ppm(burst->to_good));
    passed = passed * (1'000'000 - bad) / 1'000'000;
  }
  return 1'000'000 - passed;
}

/// Rounds after which one of `count` packets is still missing in fewer than one case in 10 000; at least one.
std::uint64_t rounds_to_certainty(std::uint64_t count, std::uint64_t lost_ppm) {
  std::uint64_t rounds = 1;
  for (std::uint64_t left = count * 10'000; left * lost_ppm / 1'000'000 > 0; ++rounds)
    left = left * lost_ppm / 1'000'000;
  return rounds;
}

/// So many probe time-outs in a row: doubled each time, up to a second (PROTOCOL section 4).
Duration silence(Duration timeout, std::uint64_t timeouts) {
  Duration sum{0};
  for (std::uint64_t i = 0; i < timeouts; ++i) {
    sum += std::min(timeout * (Duration::rep{1} << std::min<std::uint64_t>(i, 20)), std::max<Duration>(1s, timeout));
  }
  return sum;
}

std::uint64_t square_root(std::uint64_t n) {
  std::uint64_t root = 0;
  while ((root + 1) * (root + 1) <= n) ++root;
  return root;
}

/// What the bound goes by, of a path.
struct Pace {
  Duration quiet;  // one exchange with the queue empty
  std::uint64_t lost_ppm;
};

/// Scavenger keeps its least window of two packets where it sees a queue that is not there.
bool sees_queues(const Options& o) {
  Duration shortest = o.rtt;
  Duration before = o.rtt;
  for (const Step& step : o.steps) {
    // What a path that became longer adds is a queue until the next look at the empty path, 10 s after the last.
    if (step.rtt.value_or(before) > before) return true;
    before = step.rtt.value_or(before);
    shortest = std::min(shortest, before);
  }
  // Round trips differ by more than its target, and the two packets of one seldom show how short they can be.
  return 2 * o.jitter + 2 * o.coalescing + o.reorder_delay > std::clamp<Duration>(shortest / 12, 2ms, 25ms);
}

/// What congestion control itself costs, beyond start and repeats.
Duration control_cost(const Options& o, const Work& work, const Pace& path) {
  const auto windows_of = [&](std::uint64_t packets) {
    return static_cast<Duration::rep>(work.packets_longest / packets) * path.quiet;
  };
  const bool jitters = o.jitter > Duration::zero() || o.coalescing > Duration::zero();
  switch (o.congestion) {
    case engine::Congestion::cubic: {
      Duration cost{0};
      // Under random loss p CUBIC's window stays near that of Reno, sqrt(3 / 2p) datagrams, two at least (RFC 9438
      // section 4.3).
      if (path.lost_ppm > 0) cost += 2 * windows_of(std::max<std::uint64_t>(2, square_root(1'500'000 / path.lost_ppm)));
      // HyStart++ takes jitter for a queue and leaves slow start with little more than the first window of 64.
      if (jitters) cost += windows_of(64);
      return cost;
    }
    case engine::Congestion::scavenger:
      return sees_queues(o) ? windows_of(2) : Duration{0};
    case engine::Congestion::bbr:  // fills the path whatever it loses and how it jitters: no term of its own
    case engine::Congestion::fixed:
    case engine::Congestion::measure:
      break;
  }
  return {};
}

/// One exchange with the queue empty, and with as much in it as we could have put there.
struct Exchange {
  Duration quiet;
  Duration full;
};

Exchange exchange_of(const RandomCase& random, const Options& worst, const Work& work) {
  const Duration quiet =
      worst.rtt + 2 * worst.jitter + 2 * worst.coalescing + worst.reorder_delay + engine_ack_interval(worst.rtt);
  const std::uint64_t bdp = random.options.rate.bytes_in(random.options.rtt);
  const std::uint64_t queue = worst.queue_bytes.value_or(std::max(bdp, 64 * KiB));
  return {quiet, quiet + worst.rate.time_for(std::min(queue, 2 * work.wire_bytes))};
}

/// A given ratio of repair takes its share of the path.
Duration with_repair(const Options& o, Duration serialised) {
  if (o.fec.mode != engine::FecMode::fixed) return serialised;
  return serialised + serialised * o.fec.repairs / o.fec.sources;
}

}  // namespace

Duration completion_bound(const RandomCase& random, Duration ideal) {
  const Options o = at_worst(random.options);
  Work work;
  for (const LanePlan& plan : random.plans) work.add(plan, o);
  const bool is_fixed = o.congestion == engine::Congestion::fixed;

  const auto [quiet, full] = exchange_of(random, o, work);

  // Serialisation, at the rate that the sender was told to keep to.
  Duration total = ideal;
  const std::uint64_t lost_ppm = std::max(loss_ppm(o, o.loss, o.burst), loss_ppm(o, o.ack_loss, std::nullopt));
  if (is_fixed) {
    const Duration paced = o.paced->time_for(work.wire_bytes_longest * 1'000'000 / (1'000'000 - lost_ppm));
    total = std::max(total, work.latest_start + paced + o.rtt);
  }
  total = with_repair(o, total);
  // Hello, manifest, verdicts, and the doubling of the first window.
  total += 3 * full;
  if (!is_fixed) total += static_cast<Duration::rep>(std::bit_width(work.packets_longest / 32)) * full;

  // Losses are repeated in rounds, each at most a time-out long, until none of them is likely to be left.
  const std::uint64_t rounds = 1 + work.repair_rounds;
  total += static_cast<Duration::rep>(rounds + rounds_to_certainty(work.packets_longest, lost_ppm)) * 2 * full;
  // A lone message that is lost again and again meets the probe's back-off.
  const Duration timeout = 3 * std::max(o.initial_rtt, quiet) + full;
  total += silence(timeout, rounds_to_certainty(1, lost_ppm)) * static_cast<Duration::rep>(1 + rounds) / 2;
  // A burst that swallows all that is in flight ends only after its number of packets, which then are probes, two a
  // time-out. One of three times the mean length is met for certain; the others are shorter. A fixed rate drives on
  // through them, but for its last packets.
  if (o.burst) {
    const std::uint64_t length = Probability::certain_ppb / o.burst->to_good.parts_per_billion();
    const std::uint64_t bursts =
        is_fixed ? 0 : work.packets_longest * o.burst->to_bad.parts_per_billion() / Probability::certain_ppb;
    total += silence(timeout, 2 + 3 * length / 2) * 2;
    total += silence(timeout, 1 + length / 2) * static_cast<Duration::rep>(rounds + bursts);
  }

  // What was in flight is lost, and the first probe after the end is up to a second late.
  if (o.outage) total += o.outage->length + std::max<Duration>(1s, timeout) + 4 * full;

  total += control_cost(random.options, work, {.quiet = quiet, .lost_ppm = lost_ppm});

  // Storage: each fill of the sink's slabs may have to be written before the next; the source reads ahead a quarter of
  // its granules.
  const std::uint64_t sink_bytes = o.sink.slabs_max * engine::slab_size;
  total += static_cast<Duration::rep>(rounds + work.bytes / sink_bytes) * (o.sink.latency + full + 10ms);
  const std::uint64_t ahead_bytes = o.source.granules_max / 4 * MemorySource::granule_size;
  total += static_cast<Duration::rep>(2 + rounds + work.bytes / ahead_bytes) * o.source.latency;
  return total * 5 / 4 + 5ms;
}

Duration usual_time(const RandomCase& random, Duration ideal) {
  Work work;
  for (const LanePlan& plan : random.plans) work.add(plan, random.options);
  return with_repair(random.options, ideal) * 5 / 4 + 8 * exchange_of(random, random.options, work).full;
}

}  // namespace penstock::sim
