#include "tests/sim/path_lab.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <utility>
#include <variant>

#include "common/check.h"
#include "common/crypto/key_schedule.h"
#include "dataplane/engine/blank_windows.h"
#include "dataplane/engine/receiver.h"
#include "dataplane/engine/sender.h"
#include "tests/sim/checksum_seal.h"
#include "tests/sim/made_up.h"

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t ip_overhead = 28;
constexpr std::size_t udp_payload = 1472;
constexpr std::uint64_t queue_min = 16 * 1500;
constexpr Duration sibling_delay = 20us;  // from one worker to another
constexpr std::size_t early_room = 100;   // datagrams: of 128 KiB, as the daemon's for whom it does not know yet

netem::LinkSettings link_of(const PathOptions& options) {
  const std::uint64_t bdp = options.rate.bytes_in(options.rtt);
  return {.delay = options.rtt / 2,
          .jitter = options.jitter,
          .rate = options.rate,
          .queue = {.bytes = std::max(bdp * options.queue_percent / 100, queue_min), .packets = 10'000'000},
          .overhead = ip_overhead};
}

}  // namespace

/// Keeps nothing, and needs not: all bytes are zero. But it says of which slabs a real one would have memory still
/// (storage/slab_sink_window.h): those that are not full, and as many of the others as it is told to retain.
class BlankSink final : public engine::SinkWindow {
 public:
  [[nodiscard]] std::span<std::byte> lend(TransferOffset at, std::size_t length) override {
    return blank_.lend(at, length);
  }
  void commit(TransferOffset at, std::size_t length) override {
    blank_.commit(at, length);
    note(at, length);
  }
  [[nodiscard]] bool store(TransferOffset at, std::span<const std::byte> bytes) override {
    note(at, bytes.size());
    return blank_.store(at, bytes);
  }
  [[nodiscard]] std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override {
    const std::uint64_t slab = at.value / engine::slab_size;
    if (!open_.contains(slab) && std::ranges::find(retained_, slab) == retained_.end()) return {};
    return std::span{zeros_}.first(std::min(length_max, zeros_.size()));
  }
  void retain(std::uint64_t bytes) override {
    retained_max_ = bytes == 0 ? 0 : static_cast<std::size_t>(bytes / engine::slab_size) + 2;
    while (retained_.size() > retained_max_) retained_.pop_front();
  }
  [[nodiscard]] std::uint64_t room() const override { return blank_.room(); }
  void on_quiet() override {}

 private:
  void note(TransferOffset at, std::size_t length) {
    const std::uint64_t slab = at.value / engine::slab_size;
    if ((open_[slab] += length) < engine::slab_size) return;
    open_.erase(slab);
    retained_.push_back(slab);
    while (retained_.size() > retained_max_) retained_.pop_front();
  }

  engine::DiscardSink blank_;
  std::vector<std::byte> zeros_ = std::vector<std::byte>(64 * KiB);
  std::map<std::uint64_t, std::uint64_t> open_;  // slab, bytes of it that came
  std::deque<std::uint64_t> retained_;           // slabs, oldest first
  std::size_t retained_max_ = 0;
};

/// A sender and a receiver with nothing to read and nowhere to write.
class PathLab::Flow {
 public:
  Flow(PathLab& lab, std::size_t index, const FlowPlan& plan, FlowOutcome& outcome)
      : lab_(lab),
        index_(index),
        plan_(plan),
        outcome_(outcome),
        buffer_(engine::udp_payload_limit),
        sender_id_{lab.luck_.next()},
        receiver_id_{lab.luck_.next()},
        to_receiver_(make_secret(lab.luck_)),
        to_sender_(make_secret(lab.luck_)),
        sender_(*this, make_sender()),
        receiver_(*this, make_receiver()) {
    lab_.senders_.add(sender_id_, sender_);
    lab_.receivers_.add(receiver_id_, receiver_);
    lab_.events_.schedule(lab_.start_ + plan_.start_after, [this] {
      receiver_.engine.expect({plan_.bytes});
      receiver_.engine.finish({plan_.bytes});
      sender_.engine.open_path(lab_.events_.now());
      sender_.engine.offer({plan_.bytes});
      sender_.engine.finish({plan_.bytes});
      sender_.wakeup.soon();
    });
  }

  [[nodiscard]] bool is_over() const { return outcome_.finished_at.has_value(); }

  void record_tick() {
    const engine::LaneStats& stats = sender_.engine.stats();
    outcome_.ticks.push_back({.received = receiver_.engine.stats().payload_bytes_received,
                              .rtt = stats.rtt_smoothed,
                              .pacing = stats.pacing_rate,
                              .cwnd = stats.cwnd,
                              .in_flight = stats.bytes_in_flight});
  }
  void record_end() {
    outcome_.sender = sender_.engine.stats();
    outcome_.receiver = receiver_.engine.stats();
  }

 private:
  struct SenderEnd final : Endpoint {
    SenderEnd(Flow& owner, engine::Sender made)
        : flow(owner), engine(std::move(made)), wakeup(owner.lab_.events_, [this] { turn(); }) {}
    void receive(std::span<std::byte> batch, std::size_t segment_size, engine::EcnMark mark) override {
      (void)engine.handle_datagrams(flow.lab_.events_.now(), batch, segment_size, mark);
    }
    void turn() override {
      const TimePoint now = flow.lab_.events_.now();
      if (const auto due = engine.poll_timeout(); due && *due <= now) engine.handle_timeout(now);
      while (const auto batch = engine.poll_transmit(now, source, flow.buffer_))
        flow.transmit(*batch, *flow.lab_.forward_);
      if (!flow.outcome_.last_new_at && engine.frontier().value == flow.plan_.bytes) flow.outcome_.last_new_at = now;
      while (const auto event = engine.poll_event()) {
        if (const auto* news = std::get_if<engine::CongestionNews>(&*event)) flow.tell_siblings(*news);
        if (const auto* proposal = std::get_if<engine::RepairProposal>(&*event)) flow.agree(proposal->ratio);
      }
      PENSTOCK_CHECK(wakeup.arm(engine.poll_timeout()));
    }
    Flow& flow;
    engine::Sender engine;
    engine::BlankSource source;
    Wakeup wakeup;
  };
  struct ReceiverEnd final : Endpoint {
    ReceiverEnd(Flow& owner, engine::Receiver made)
        : flow(owner), engine(std::move(made)), wakeup(owner.lab_.events_, [this] { turn(); }) {}
    void receive(std::span<std::byte> batch, std::size_t segment_size, engine::EcnMark mark) override {
      const TimePoint now = flow.lab_.events_.now();
      if (engine.handle_datagrams(now, batch, segment_size, sink, mark).authentic > 0) engine.open_path(now);
    }
    void turn() override {
      const TimePoint now = flow.lab_.events_.now();
      if (const auto due = engine.poll_timeout(); due && *due <= now) engine.handle_timeout(now);
      while (const auto batch = engine.poll_transmit(now, sink, flow.buffer_))
        flow.transmit(*batch, *flow.lab_.backward_);
      while (const auto event = engine.poll_event()) {
        if (std::holds_alternative<engine::Drained>(*event) && !flow.outcome_.finished_at)
          flow.outcome_.finished_at = now;
      }
      PENSTOCK_CHECK(wakeup.arm(engine.poll_timeout()));
    }
    Flow& flow;
    engine::Receiver engine;
    BlankSink sink;
    Wakeup wakeup;
  };

  void transmit(const engine::Transmit& batch, Pipe& pipe) {
    for (std::size_t at = 0; at < batch.size; at += batch.segment_size)
      pipe.send(std::span{buffer_}.subspan(at, std::min(batch.segment_size, batch.size - at)), batch.mark);
  }

  /// As the control channel does, in a round trip.
  void agree(const engine::RepairRatio& ratio) {
    lab_.events_.schedule(lab_.events_.now() + lab_.options_.rtt / 2,
                          [this, ratio] { receiver_.engine.on_repair_agreed(ratio); });
    lab_.events_.schedule(lab_.events_.now() + lab_.options_.rtt,
                          [this, ratio] { sender_.engine.on_repair_agreed(ratio); });
  }

  void tell_siblings(const engine::CongestionNews& news) {
    const std::size_t first = index_ - plan_.place.lane;
    for (std::size_t i = first; i < first + plan_.place.lanes; ++i) {
      if (i == index_) continue;
      lab_.events_.schedule(lab_.events_.now() + sibling_delay, [&sibling = lab_.flows_[i]->sender_, this, news] {
        sibling.engine.on_sibling_congestion(lab_.events_.now(), news);
        sibling.wakeup.soon();
      });
    }
  }

  engine::Sender make_sender() {
    engine::SenderConfig config;
    config.place = plan_.place;
    config.udp_payload_size = udp_payload;
    config.congestion = plan_.congestion;
    config.rate = plan_.rate;
    config.remembered_rate = plan_.remembered;
    config.fec = plan_.fec;
    config.ecn = plan_.ecn;
    config.ip_overhead = ip_overhead;
    config.initial_rtt = lab_.options_.rtt;
    return engine::Sender{config,
                          {&checksum_backend(), to_receiver_.clone(), to_sender_.clone(), receiver_id_, sender_id_},
                          lab_.luck_.split()};
  }
  engine::Receiver make_receiver() {
    engine::ReceiverConfig config;
    config.place = plan_.place;
    config.udp_payload_size = udp_payload;
    config.ip_overhead = ip_overhead;
    config.initial_rtt = lab_.options_.rtt;
    return engine::Receiver{config,
                            {&checksum_backend(), to_sender_.clone(), to_receiver_.clone(), sender_id_, receiver_id_},
                            lab_.luck_.split()};
  }

  PathLab& lab_;
  std::size_t index_;
  FlowPlan plan_;
  FlowOutcome& outcome_;
  std::vector<std::byte> buffer_;
  ConnectionId sender_id_;
  ConnectionId receiver_id_;
  crypto::TrafficSecret to_receiver_;
  crypto::TrafficSecret to_sender_;
  SenderEnd sender_;
  ReceiverEnd receiver_;
};

std::vector<FlowPlan> lanes_of(FlowPlan plan, std::size_t lanes) {
  std::vector<FlowPlan> plans;
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    plan.place = {.lane = lane, .lanes = lanes};
    plans.push_back(plan);
  }
  return plans;
}

netem::Policer policed_to(std::uint64_t megabits) {
  return {.rate = DataRate::megabits_per_second(megabits), .burst = 64 * KiB};
}

PathLab::PathLab(const PathOptions& options, const std::vector<FlowPlan>& plans)
    : options_(options),
      luck_(options.seed),
      start_(1s),
      events_(start_),
      senders_(events_, Duration{0}),
      receivers_(events_, Duration{0}),
      tick_(options.tick > Duration{} ? options.tick : options.rtt / 2) {
  netem::LinkSettings forward = link_of(options);
  forward.loss = options.loss;
  forward.burst = options.burst;
  forward.policer = options.policer;
  if (options.mark_percent) forward.mark_above = options.rate.bytes_in(options.rtt) * *options.mark_percent / 100;
  netem::LinkSettings backward = link_of(options);
  backward.loss = options.ack_loss;
  forward_ = std::make_unique<Pipe>(
      events_, forward, luck_.next(), 0, trace_,
      [this](Datagram datagram, engine::EcnMark mark) { receivers_.deliver(std::move(datagram), mark); });
  backward_ = std::make_unique<Pipe>(
      events_, backward, luck_.next(), 1, trace_,
      [this](Datagram datagram, engine::EcnMark mark) { deliver_ack(std::move(datagram), mark); });
  forward_->set_box(options.box);
  if (options.lane_after > Duration{}) receivers_.sleep(start_, start_ + options.lane_after, early_room);
  for (const PathChange& change : options.changes) {
    if (change.rate) forward.rate = *change.rate;
    if (change.rtt) forward.delay = backward.delay = *change.rtt / 2;
    if (change.loss) forward.loss = *change.loss;
    forward.down = backward.down = change.down;
    forward_->change_at(start_ + change.after, forward);
    backward_->change_at(start_ + change.after, backward);
  }
  outcomes_.resize(plans.size());
  for (std::size_t i = 0; i < plans.size(); ++i) add(i, plans[i]);
  schedule_tick();
}

void PathLab::add(std::size_t index, const FlowPlan& plan) {
  flows_.emplace_back();
  tcp_.emplace_back();
  if (plan.tcp_bbr)
    tcp_.back() = std::make_unique<TcpBbrFlow>(
        events_, luck_.split(), *forward_, *backward_, senders_, receivers_, start_ + plan.start_after,
        options_.policer ? TcpBbr::Policers::looked_for : TcpBbr::Policers::ignored);
  else
    flows_.back() = std::make_unique<Flow>(*this, index, plan, outcomes_[index]);
}

PathLab::~PathLab() = default;

void PathLab::deliver_ack(Datagram datagram, engine::EcnMark mark) {
  if (options_.ack_slot == Duration{}) return senders_.deliver(std::move(datagram), mark);
  const Duration since = events_.now() - start_;
  const TimePoint at = start_ + (since / options_.ack_slot + 1) * options_.ack_slot;
  events_.schedule(
      at, [this, mark, datagram = std::move(datagram)]() mutable { senders_.deliver(std::move(datagram), mark); });
}

void PathLab::schedule_tick() {
  events_.schedule(events_.now() + tick_, [this] {
    queue_.push_back(forward_->queued_bytes());
    for (std::size_t i = 0; i < outcomes_.size(); ++i) record_tick(i);
    schedule_tick();
  });
}

void PathLab::record_tick(std::size_t flow) {
  if (flows_[flow]) return flows_[flow]->record_tick();
  const TcpBbr& model = tcp_[flow]->model();
  outcomes_[flow].ticks.push_back({.received = tcp_[flow]->received(),
                                   .rtt = model.smoothed_rtt(),
                                   .pacing = DataRate::bytes_per_second(std::max<std::uint64_t>(model.pacing(), 1)),
                                   .cwnd = model.cwnd() * TcpBbr::payload,
                                   .in_flight = model.in_flight() * TcpBbr::payload});
}

void PathLab::run(Duration length) {
  const auto over = [](const auto& flow) { return flow && flow->is_over(); };
  while (!std::all_of(flows_.begin(), flows_.end(), over) && events_.run_one(start_ + length)) {
  }
  for (const auto& flow : flows_) {
    if (flow) flow->record_end();
  }
}

std::uint64_t PathLab::goodput(std::size_t flow, Duration from, Duration to) const {
  const auto& ticks = outcomes_[flow].ticks;
  const auto received_by = [&](Duration moment) -> std::uint64_t {
    const auto count = std::min(static_cast<std::size_t>(moment / tick_), ticks.size());
    return count == 0 ? 0 : ticks[count - 1].received;
  };
  const std::uint64_t bytes = received_by(to) - received_by(from);
  return bytes * 8 * 1'000'000 / static_cast<std::uint64_t>((to - from) / std::chrono::microseconds{1});
}

}  // namespace penstock::sim
