#include "tests/sim/random_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <string_view>
#include <utility>

#include "common/random.h"
#include "dataplane/engine/congestion/cubic.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using netem::Probability;

/// Log-uniform in [1, 2^bits): a power of two first, then anywhere up to the next.
std::uint64_t log_uniform(Rng& luck, std::uint64_t bits) {
  const std::uint64_t base = std::uint64_t{1} << luck.below(bits);
  return luck.between(base, 2 * base - 1);
}

Duration log_duration(Rng& luck, Duration low, Duration high) {
  Duration value = low;
  std::uint64_t doublings = 0;
  for (Duration d = low; d < high; d *= 2) ++doublings;
  value = low * (Duration::rep{1} << luck.below(doublings));
  value += Duration{static_cast<Duration::rep>(luck.below(static_cast<std::uint64_t>(value.count())))};
  return std::min(value, high);
}

Duration up_to(Rng& luck, Duration high) {
  return Duration{static_cast<Duration::rep>(luck.below(static_cast<std::uint64_t>(high.count()) + 1))};
}

Probability ppm_up_to(Rng& luck, std::uint32_t ppm) {
  return Probability::parts_per_million(static_cast<std::uint32_t>(luck.between(1, ppm)));
}

Probability random_loss(Rng& luck) {
  switch (luck.below(10)) {
    case 0:
    case 1:
      return ppm_up_to(luck, 1'000);
    case 2:
    case 3:
      return ppm_up_to(luck, 20'000);
    case 4:
      return ppm_up_to(luck, 100'000);
    case 5:
      return ppm_up_to(luck, 200'000);
    case 6:
      return ppm_up_to(luck, 250'000);
    default:
      return {};
  }
}

/// Several times what the first window or the path holds, whichever is more: how the controller does there is what the
/// time taken tells of. At most 32 MiB, seldom as much.
std::uint64_t long_size(Rng& luck, const Options& options) {
  const std::uint64_t flight = std::max(options.rate.bytes_in(options.rtt), first_window_of(options));
  const std::uint64_t flights = luck.between(8, 32);
  // Half as many of twice the size: each size takes as much of the machine's time as any other.
  const auto doublings = static_cast<std::uint64_t>(std::countr_zero(luck.next() | 1U << 5));
  const std::uint64_t most = luck.between(MiB / 2, MiB) << doublings;
  return std::min(flight * flights, std::max(most, 8 * first_window_of(options)));
}

std::uint64_t random_size(Rng& luck, std::size_t udp_payload) {
  switch (luck.below(16)) {
    case 0:
      return 0;
    case 1:  // around whole datagrams
      return luck.between(1, 40) * (udp_payload - engine::data_header_size - crypto::aead_tag_size) +
             luck.between(0, 2) - 1;
    case 2:  // around whole slabs
      return luck.between(1, 3) * engine::slab_size + luck.between(0, 2) - 1;
    default:
      return log_uniform(luck, 22);
  }
}

/// Up to `count_max` disjoint ascending ranges of [0, bytes).
std::vector<TransferRange> random_ranges(Rng& luck, std::uint64_t bytes, std::uint64_t count_max) {
  std::vector<TransferRange> ranges;
  if (bytes == 0) return ranges;
  std::vector<std::uint64_t> cuts;
  const std::uint64_t count = luck.between(1, count_max);
  for (std::uint64_t i = 0; i < 2 * count; ++i) cuts.push_back(luck.between(0, bytes));
  std::sort(cuts.begin(), cuts.end());
  for (std::size_t i = 0; i + 1 < cuts.size(); i += 2) {
    const bool touches = !ranges.empty() && ranges.back().end.value == cuts[i];
    if (cuts[i] < cuts[i + 1] && !touches) ranges.push_back({{cuts[i]}, {cuts[i + 1]}});
  }
  return ranges;
}

LanePlan random_plan(Rng& luck, const Options& options) {
  LanePlan plan{.bytes = random_size(luck, options.udp_payload_size)};
  plan.pull = luck.chance(1, 3);
  if (luck.chance(1, 3)) plan.start_after = up_to(luck, options.rtt * 2);
  if (luck.chance(1, 3)) {
    plan.offers = static_cast<std::uint32_t>(luck.between(2, 6));
    plan.offer_gap = up_to(luck, options.rtt);
  }
  if (luck.chance(1, 4)) {
    plan.held =
        luck.chance(1, 10) ? std::vector<TransferRange>{{{}, {plan.bytes}}} : random_ranges(luck, plan.bytes, 6);
    if (plan.bytes == 0) plan.held.clear();
    plan.source_knows_held = luck.chance(1, 2);
  }
  if (luck.chance(1, 4)) {
    const std::uint64_t rounds = luck.between(1, 3);
    for (std::uint64_t i = 0; i < rounds; ++i) {
      if (auto ranges = random_ranges(luck, plan.bytes, 3); !ranges.empty()) plan.repairs.push_back(std::move(ranges));
    }
  }
  if (luck.chance(1, 3)) {
    plan.messages = static_cast<std::uint32_t>(luck.between(1, 20));
    plan.message_gap = up_to(luck, options.rtt);
  }
  return plan;
}

/// What is held or repaired of it stays what it is.
void make_longer(Rng& luck, const Options& options, LanePlan& plan) {
  plan.bytes = std::max(plan.bytes, long_size(luck, options));
}

void draw_controller(Rng& luck, Options& options) {
  switch (luck.below(8)) {
    case 0:
      options.congestion = engine::Congestion::scavenger;
      break;
    case 1:
    case 2:
    case 3:
      options.congestion = engine::Congestion::cubic;
      break;
    default:
      options.congestion = engine::Congestion::bbr;
      if (luck.chance(1, 3))
        options.remembered = DataRate::bits_per_second(options.rate.bits_per_second() / 100 * luck.between(2, 400));
  }
}

/// An outage, and a path that becomes another, while data flows.
void draw_changes(Rng& luck, RandomCase& random) {
  Options& options = random.options;
  std::uint64_t bytes = 0;
  for (const LanePlan& plan : random.plans) bytes += plan.bytes;
  const Duration within = options.rtt * 10 + options.rate.time_for(bytes);
  if (luck.chance(1, 10)) options.outage = Outage{.after = up_to(luck, within), .length = up_to(luck, 3s)};
  if (!luck.chance(1, 8)) return;
  const std::uint64_t count = luck.between(1, 3);
  for (std::uint64_t i = 0; i < count; ++i) {
    Step step{.after = up_to(luck, within)};
    // Who is told a rate keeps to it, whatever becomes of the path.
    const std::uint64_t least = options.paced ? 100 : 25;
    if (luck.chance(2, 3))
      step.rate = std::max(DataRate::megabits_per_second(1),
                           DataRate::bits_per_second(options.rate.bits_per_second() / 100 * luck.between(least, 400)));
    if (luck.chance(2, 3))
      step.rtt = std::min<Duration>(options.rtt * static_cast<Duration::rep>(luck.between(25, 400)) / 100, 2s);
    options.steps.push_back(step);
  }
  std::ranges::sort(options.steps, {}, &Step::after);
}

}  // namespace

std::uint64_t first_window_of(const Options& options) {
  return engine::initial_window_packets * options.udp_payload_size;
}

RandomCase make_random_case(std::uint64_t seed) {
  Rng luck{seed};
  Options options;
  options.seed = luck.next();
  options.rtt = log_duration(luck, 100us, 2s);
  options.rate = DataRate::bits_per_second(std::min(log_uniform(luck, 11) * 1'000'000, std::uint64_t{2'000'000'000}));
  constexpr std::size_t payloads[] = {1200, 1472, 1472, 8972};
  options.udp_payload_size = luck.chance(1, 8) ? luck.between(1200, 9000) : payloads[luck.below(4)];

  options.loss = random_loss(luck);
  options.ack_loss = random_loss(luck);
  if (luck.chance(1, 8)) {
    options.burst = netem::BurstLoss{.to_bad = ppm_up_to(luck, 5'000),
                                     .to_good = Probability::percent(static_cast<std::uint32_t>(luck.between(10, 50)))};
  }
  if (luck.chance(1, 3)) options.loss_placement = netem::LossPlacement::before_bottleneck;
  if (luck.chance(1, 5)) options.jitter = up_to(luck, options.rtt / 8);
  if (luck.chance(1, 4)) {
    options.reorder = ppm_up_to(luck, luck.chance(1, 2) ? 500'000 : 50'000);
    options.reorder_delay = up_to(luck, options.rtt / 4);
  }
  if (luck.chance(1, 5)) options.duplicate = ppm_up_to(luck, 50'000);
  if (luck.chance(1, 5)) options.corrupt = ppm_up_to(luck, 20'000);
  const std::uint64_t bdp = options.rate.bytes_in(options.rtt);
  const std::uint64_t queue_min = std::max<std::uint64_t>(32 * options.udp_payload_size, options.rate.bytes_in(1ms));
  if (luck.chance(1, 4)) options.queue_bytes = std::max(queue_min, luck.between(bdp / 8, bdp / 2));
  if (luck.chance(1, 4)) options.queue_bytes = std::max(queue_min, luck.between(bdp, bdp * 4));

  if (luck.chance(1, 3)) {
    options.congestion = engine::Congestion::fixed;
    options.paced = DataRate::bits_per_second(options.rate.bits_per_second() / 100 * luck.between(50, 95));
  }
  if (luck.chance(1, 6)) options.order = engine::ChunkOrder::shuffled;
  if (luck.chance(1, 3)) options.initial_credit = luck.between(2 * 9000, 1 * MiB);
  if (luck.chance(1, 2)) options.key_update_packets = luck.between(4, 500);
  if (luck.chance(1, 4)) options.initial_rtt = std::max<Duration>(1us, up_to(luck, options.rtt * 4));
  if (luck.chance(1, 3)) {
    options.source = {.latency = up_to(luck, 5ms), .granules_max = luck.between(32, 128)};
  }
  if (luck.chance(1, 3)) {
    options.sink = {.latency = up_to(luck, 20ms), .slabs_max = luck.between(3, 8)};
    // Handing partly filled slabs on voids credit that was given for their rest, and shuffled chunks need all slabs of
    // their window open: with few slabs most datagrams are refused, and the disk's latency is the rate.
    if (options.sink.slabs_max >= 4 && luck.chance(1, 2)) options.sink.quiet = WhenQuiet::hands_on;
    if (options.order == engine::ChunkOrder::shuffled) options.sink.slabs_max = 8;
  }
  if (luck.chance(1, 4)) options.coalescing = up_to(luck, 200us);
  const auto backends = crypto::aead_backends();
  options.backend = backends[luck.below(backends.size())];

  RandomCase random{.options = options, .plans = {}};
  const std::uint64_t lanes = luck.chance(1, 4) ? luck.between(2, 3) : 1;
  for (std::uint64_t i = 0; i < lanes; ++i) random.plans.push_back(random_plan(luck, options));
  // Shuffled chunks of more than the sink's slabs hold are refused, most of them, and the disk's latency is the rate.
  const bool longer = options.paced ? luck.chance(1, 8) : luck.chance(5, 8);
  if (longer && options.order == engine::ChunkOrder::sequential) make_longer(luck, options, random.plans.front());
  if (!options.paced) draw_controller(luck, random.options);
  draw_changes(luck, random);
  if (luck.chance(1, 2)) {
    // The size is searched for, now and then on a path that carries less than it seems.
    const auto ceiling = std::exchange(random.options.udp_payload_size, engine::udp_payload_min);
    random.options.udp_payload_max = ceiling;
    if (luck.chance(1, 3)) random.options.mtu = static_cast<std::uint32_t>(luck.between(1228, ceiling + 28));
  }
  if (luck.chance(1, 2)) {
    random.options.fec.mode = engine::FecMode::automatic;
    if (luck.chance(1, 3)) {
      random.options.fec = {.mode = engine::FecMode::fixed,
                            .sources = static_cast<std::uint8_t>(log_uniform(luck, 7)),
                            .repairs = static_cast<std::uint8_t>(luck.between(1, 12))};
    }
  }
  if (luck.chance(1, 3)) {
    random.options.mark_above = std::max<std::uint64_t>(4 * options.udp_payload_size, luck.between(bdp / 16, bdp));
  }
  if (luck.chance(1, 6)) random.options.box = static_cast<MarkBox>(luck.between(1, 4));
  // Together they take what one would; blind senders above the rate would measure nothing but the queue.
  if (auto& paced = random.options.paced) paced = DataRate::bits_per_second(paced->bits_per_second() / lanes);
  return random;
}

std::string_view name_of(engine::Congestion congestion) {
  switch (congestion) {
    case engine::Congestion::bbr:
      return "bbr";
    case engine::Congestion::cubic:
      return "cubic";
    case engine::Congestion::scavenger:
      return "scavenger";
    case engine::Congestion::fixed:
      return "fixed";
    case engine::Congestion::measure:
      return "measure";
  }
  return "";
}

std::string describe(const RandomCase& random) {
  const Options& o = random.options;
  const auto percent = [](Probability p) { return static_cast<double>(p.parts_per_billion()) / 1e7; };
  std::string text =
      fmt::format("rtt {} us, rate {} Mbit/s, payload {} B, loss {} %, ack loss {} %", o.rtt / 1us,
                  o.rate.bits_per_second() / 1'000'000, o.udp_payload_size, percent(o.loss), percent(o.ack_loss));
  if (o.udp_payload_max > 0) text += fmt::format(", searched up to {} B", o.udp_payload_max);
  if (o.mtu) text += fmt::format(", path MTU {}", *o.mtu);
  if (o.queue_bytes) text += fmt::format(", queue {} B", *o.queue_bytes);
  if (o.mark_above) text += fmt::format(", marks above {} B", *o.mark_above);
  if (o.box != MarkBox::honest) text += fmt::format(", a box that {}", to_string(o.box));
  if (o.burst) text += fmt::format(", bursts {}%,{}%", percent(o.burst->to_bad), percent(o.burst->to_good));
  if (o.jitter > Duration::zero()) text += fmt::format(", jitter {} us", o.jitter / 1us);
  if (o.reorder > Probability{})
    text += fmt::format(", reorder {} % by {} us", percent(o.reorder), o.reorder_delay / 1us);
  if (o.duplicate > Probability{}) text += fmt::format(", duplicate {} %", percent(o.duplicate));
  if (o.corrupt > Probability{}) text += fmt::format(", corrupt {} %", percent(o.corrupt));
  if (o.outage) text += fmt::format(", outage of {} us after {} us", o.outage->length / 1us, o.outage->after / 1us);
  for (const Step& step : o.steps) {
    text += fmt::format(", after {} us", step.after / 1us);
    if (step.rate) text += fmt::format(" {} Mbit/s", step.rate->bits_per_second() / 1'000'000);
    if (step.rtt) text += fmt::format(" rtt {} us", *step.rtt / 1us);
  }
  text += o.paced ? fmt::format("; fixed {} kbit/s", o.paced->bits_per_second() / 1000)
                  : fmt::format("; {}", name_of(o.congestion));
  if (o.remembered) text += fmt::format(", remembers {} kbit/s", o.remembered->bits_per_second() / 1000);
  if (o.order == engine::ChunkOrder::shuffled) text += ", shuffled";
  if (o.fec.mode == engine::FecMode::automatic) text += ", fec auto";
  if (o.fec.mode == engine::FecMode::fixed) text += fmt::format(", fec {},{}", o.fec.sources, o.fec.repairs);
  text += fmt::format(", credit {} B, key update {}, initial rtt {} us, source {} us x {}, sink {} us x {}{}",
                      o.initial_credit, o.key_update_packets, o.initial_rtt / 1us, o.source.latency / 1us,
                      o.source.granules_max, o.sink.latency / 1us, o.sink.slabs_max,
                      o.sink.quiet == WhenQuiet::hands_on ? " (hands on)" : "");
  text += fmt::format(", coalescing {} us, {}", o.coalescing / 1us, o.backend->name());
  for (const LanePlan& plan : random.plans) {
    text += fmt::format(
        "\n  {} {} B after {} us, {} offers every {} us, {} held{}, {} repair rounds, {} messages every {} us",
        plan.pull ? "pull" : "push", plan.bytes, plan.start_after / 1us, plan.offers, plan.offer_gap / 1us,
        plan.held.size(), plan.source_knows_held ? "" : " (told)", plan.repairs.size(), plan.messages,
        plan.message_gap / 1us);
  }
  return text;
}

}  // namespace penstock::sim
