#include "tests/sim/scenario.h"

#include <algorithm>
#include <set>
#include <utility>

#include "common/check.h"

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t ip_overhead = 28;
constexpr std::uint64_t data_overhead = 35;  // our header and tag: PROTOCOL section 2
constexpr std::uint64_t queue_min = 64 * KiB;
constexpr std::uint64_t events_max = 200'000'000;

netem::LinkSettings link_of(const Options& options, netem::Probability loss) {
  const std::uint64_t bdp = options.rate.bytes_in(options.rtt);
  return {.delay = options.rtt / 2,
          .jitter = options.jitter,
          .rate = options.rate,
          .queue = {.bytes = options.queue_bytes.value_or(std::max(bdp, queue_min)), .packets = 1'000'000},
          .overhead = ip_overhead,
          .mtu = options.mtu,
          .loss_placement = options.loss_placement,
          .loss = loss,
          .reorder = options.reorder,
          .reorder_delay = options.reorder_delay,
          .duplicate = options.duplicate,
          .corrupt = options.corrupt};
}

EngineOptions engines_of(const Options& options) {
  const Duration initial_rtt = options.initial_rtt > Duration::zero() ? options.initial_rtt : options.rtt;
  EngineOptions engines;
  engines.sender.udp_payload_size = options.udp_payload_size;
  engines.sender.udp_payload_max = options.udp_payload_max;
  engines.sender.congestion = options.congestion;
  engines.sender.fec = options.fec;
  engines.sender.ecn = options.ecn;
  engines.sender.rate = options.paced;
  engines.sender.remembered_rate = options.remembered;
  if (options.congestion == engine::Congestion::fixed && !options.paced) {
    engines.sender.rate = DataRate::bits_per_second(options.rate.bits_per_second() / 100 * 95);
  }
  engines.sender.ip_overhead = ip_overhead;
  engines.sender.initial_rtt = initial_rtt;
  engines.sender.initial_credit = options.sender_initial_credit.value_or(options.initial_credit);
  engines.sender.order = options.order;
  engines.sender.key_update_packets = options.key_update_packets;
  engines.receiver.udp_payload_size = options.udp_payload_size;
  engines.receiver.ip_overhead = ip_overhead;
  engines.receiver.initial_rtt = initial_rtt;
  engines.receiver.initial_credit = options.initial_credit;
  engines.receiver.key_update_packets = options.key_update_packets;
  engines.source = options.source;
  engines.sink = options.sink;
  engines.backend =
      options.backend != nullptr ? options.backend : &crypto::aead_backend_for(crypto::AeadAlgorithm::aes_256_gcm);
  engines.tcp_delay = options.rtt;
  return engines;
}

/// What the path is `since_start`, of which it was `first` at the beginning.
netem::LinkSettings link_at(const Options& options, netem::LinkSettings first, Duration since_start) {
  for (const Step& step : options.steps) {
    if (step.after > since_start) break;
    if (step.rate) first.rate = *step.rate;
    if (step.rtt) first.delay = *step.rtt / 2;
  }
  const auto& outage = options.outage;
  first.down = outage && since_start >= outage->after && since_start < outage->after + outage->length;
  return first;
}

}  // namespace

Options at_worst(Options options) {
  for (const Step& step : options.steps) {
    if (step.rate) options.rate = std::min(options.rate, *step.rate);
    if (step.rtt) options.rtt = std::max(options.rtt, *step.rtt);
  }
  return options;
}

// Virtual time does not start at zero: an engine that takes zero for "never" is found out.
Scenario::Scenario(const Options& options)
    : options_(options),
      luck_(options.seed),
      start_(1s),
      events_(start_),
      client_(events_, options.coalescing),
      daemon_(events_, options.coalescing) {
  netem::LinkSettings forward = link_of(options, options.loss);
  forward.burst = options.burst;
  forward.mark_above = options.mark_above;
  const auto to = [](Host& host) {
    return [&host](Datagram datagram, engine::EcnMark mark) { host.deliver(std::move(datagram), mark); };
  };
  forward_ = std::make_unique<Pipe>(events_, forward, luck_.next(), 0, trace_, to(daemon_));
  backward_ = std::make_unique<Pipe>(events_, link_of(options, options.ack_loss), luck_.next(), 1, trace_, to(client_));
  forward_->set_box(options.box);
  std::set<Duration> changes;
  for (const Step& step : options.steps) changes.insert(step.after);
  if (options.outage) changes.insert({options.outage->after, options.outage->after + options.outage->length});
  for (Pipe* pipe : {forward_.get(), backward_.get()}) {
    for (const Duration after : changes) pipe->change_at(start_ + after, link_at(options, pipe->settings(), after));
  }
}

LaneOutcome Scenario::transfer(const LanePlan& plan) { return std::move(transfer_all({plan}).front()); }

std::vector<LaneOutcome> Scenario::transfer_all(const std::vector<LanePlan>& plans) {
  PENSTOCK_CHECK(lanes_.empty() && !plans.empty());
  EngineOptions engines = engines_of(options_);
  for (const LanePlan& plan : plans) {
    engines.receiver.hello_until_heard = plan.pull;
    lanes_.push_back(
        plan.pull ? std::make_unique<Lane>(events_, engines, plan, luck_, daemon_, client_, *backward_, *forward_)
                  : std::make_unique<Lane>(events_, engines, plan, luck_, client_, daemon_, *forward_, *backward_));
  }
  const auto all_over = [this] {
    return std::all_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane->is_over(); });
  };
  const TimePoint limit = start_ + options_.patience;
  while (!all_over() && events_.events_run() < events_max && events_.run_one(limit)) {
  }
  // The goodbyes: long enough for a repeated CLOSE.
  const TimePoint goodbye = events_.now() + 4 * options_.rtt + 1s;
  while (events_.events_run() < events_max && events_.run_one(goodbye)) {
  }
  std::vector<LaneOutcome> outcomes;
  for (const auto& lane : lanes_) outcomes.push_back(lane->outcome());
  return outcomes;
}

TimePoint Scenario::ideal_finish() const {
  const Options worst = at_worst(options_);
  std::uint64_t wire_bytes = 0;
  Duration latest_start{0};
  const std::uint64_t payload = options_.udp_payload_size - data_overhead;
  for (const auto& lane : lanes_) {
    const LanePlan& plan = lane->plan();
    std::uint64_t needed = plan.bytes;
    for (const TransferRange& range : plan.held) needed -= range.size();
    for (const auto& round : plan.repairs) {
      for (const TransferRange& range : round) needed += range.size();
    }
    wire_bytes += needed + (needed + payload - 1) / payload * (data_overhead + ip_overhead);
    latest_start = std::max(latest_start, plan.start_after + (plan.offers - 1) * plan.offer_gap);
  }
  std::uint64_t passed_ppb = netem::Probability::certain_ppb - options_.loss.parts_per_billion();
  if (options_.burst) {
    // Share of time in the bad state: p / (p + r).
    const std::uint64_t p = options_.burst->to_bad.parts_per_billion();
    const std::uint64_t r = options_.burst->to_good.parts_per_billion();
    const std::uint64_t in_bad = options_.burst->loss_in_bad.parts_per_billion();
    const std::uint64_t lost_ppb = p + r == 0 ? 0 : in_bad / 1000 * p / (p + r) * 1000;
    passed_ppb = passed_ppb / 1000 * (netem::Probability::certain_ppb - lost_ppb) / 1'000'000;
  }
  const auto serialised = worst.rate.time_for(wire_bytes).count();
  const Duration stretched{serialised * 1'000'000 / static_cast<Duration::rep>(passed_ppb / 1000)};
  return start_ + latest_start + stretched + worst.rtt / 2;
}

}  // namespace penstock::sim
