#include "tests/sim/team_lab.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>
#include <variant>

#include "common/check.h"
#include "common/crypto/aead.h"
#include "common/crypto/key_schedule.h"
#include "dataplane/engine/receiver.h"
#include "dataplane/engine/sender.h"
#include "tests/sim/made_up.h"
#include "tests/sim/memory_source.h"

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t udp_payload = 1472;
constexpr Duration sibling_delay = 20us;  // from one worker to another
constexpr Duration silence = 1s;          // then a dead lane is given up

}  // namespace

/// A lane at both ends, with the windows that storage has for it.
struct TeamLab::Lane {
  Lane(TeamLab& owner, std::size_t number)
      : lab(owner),
        place{number, owner.options_.lanes},
        buffer(engine::udp_payload_limit),
        sender_id{owner.luck_.next()},
        receiver_id{owner.luck_.next()},
        to_receiver(make_secret(owner.luck_)),
        to_sender(make_secret(owner.luck_)),
        source(owner.events_, owner.truth_, {},
               [this] {
                 sender.engine.on_source_ready();
                 sender.wakeup.soon();
               }),
        sink(owner.events_, owner.truth_, owner.options_.sink,
             [this] {
               receiver.engine.on_sink_room(lab.events_.now());
               receiver.wakeup.soon();
             }),
        sender(*this),
        receiver(*this) {
    owner.senders_.add(sender_id, sender);
    owner.receivers_.add(receiver_id, receiver);
  }

  struct SenderEnd final : Endpoint {
    explicit SenderEnd(Lane& owner)
        : lane(owner), engine(owner.make_sender()), wakeup(owner.lab.events_, [this] { turn(); }) {}
    void receive(std::span<std::byte> batch, std::size_t segment_size, engine::EcnMark mark) override {
      if (!gone) (void)engine.handle_datagrams(lane.lab.events_.now(), batch, segment_size, mark);
    }
    void turn() override;
    Lane& lane;
    engine::Sender engine;
    Wakeup wakeup;
    bool gone = false;
  };
  struct ReceiverEnd final : Endpoint {
    explicit ReceiverEnd(Lane& owner)
        : lane(owner), engine(owner.make_receiver()), wakeup(owner.lab.events_, [this] { turn(); }) {}
    void receive(std::span<std::byte> batch, std::size_t segment_size, engine::EcnMark mark) override {
      const TimePoint now = lane.lab.events_.now();
      if (engine.handle_datagrams(now, batch, segment_size, lane.sink, mark).authentic > 0) engine.open_path(now);
    }
    void turn() override;
    Lane& lane;
    engine::Receiver engine;
    Wakeup wakeup;
  };

  void transmit(const engine::Transmit& batch, Pipe& pipe) {
    for (std::size_t at = 0; at < batch.size; at += batch.segment_size)
      pipe.send(std::span{buffer}.subspan(at, std::min(batch.segment_size, batch.size - at)), batch.mark);
  }
  void note_closed(const engine::Closed& closed) {
    if (closed.error != engine::TransportError::none) lab.outcome_.closed.emplace_back(engine::to_string(closed.error));
  }

  engine::Sender make_sender() {
    const TeamOptions& o = lab.options_;
    engine::SenderConfig config{.udp_payload_size = udp_payload,
                                .congestion = o.congestion,
                                .initial_rtt = o.rtt,
                                .place = place,
                                .fec = o.fec};
    if (o.congestion == engine::Congestion::fixed) config.rate = o.rate;
    return engine::Sender{config,
                          {&crypto::aead_backend_for(crypto::AeadAlgorithm::aes_256_gcm), to_receiver.clone(),
                           to_sender.clone(), receiver_id, sender_id},
                          lab.luck_.split()};
  }
  engine::Receiver make_receiver() {
    return engine::Receiver{{.udp_payload_size = udp_payload, .initial_rtt = lab.options_.rtt, .place = place},
                            {&crypto::aead_backend_for(crypto::AeadAlgorithm::aes_256_gcm), to_sender.clone(),
                             to_receiver.clone(), sender_id, receiver_id},
                            lab.luck_.split()};
  }

  TeamLab& lab;
  engine::LanePlace place;
  std::vector<std::byte> buffer;
  ConnectionId sender_id;
  ConnectionId receiver_id;
  crypto::TrafficSecret to_receiver;
  crypto::TrafficSecret to_sender;
  MemorySource source;
  MemorySink sink;
  SenderEnd sender;
  ReceiverEnd receiver;
};

void TeamLab::Lane::SenderEnd::turn() {
  if (gone) return;
  TeamLab& team = lane.lab;
  const TimePoint now = team.events_.now();
  if (const auto due = engine.poll_timeout(); due && *due <= now) engine.handle_timeout(now);
  while (const auto batch = engine.poll_transmit(now, lane.source, lane.buffer)) lane.transmit(*batch, *team.forward_);
  while (const auto event = engine.poll_event()) {
    if (const auto* prefetch = std::get_if<engine::Prefetch>(&*event)) lane.source.prefetch(prefetch->range);
    if (const auto* closed = std::get_if<engine::Closed>(&*event)) lane.note_closed(*closed);
    if (const auto* proposal = std::get_if<engine::RepairProposal>(&*event)) {
      team.later(team.options_.rtt / 2,
                 [this, ratio = proposal->ratio] { lane.receiver.engine.on_repair_agreed(ratio); });
      team.later(team.options_.rtt, [this, ratio = proposal->ratio] { engine.on_repair_agreed(ratio); });
    }
    if (const auto* news = std::get_if<engine::CongestionNews>(&*event)) {
      for (const auto& sibling : team.lanes_) {
        if (sibling.get() == &lane) continue;
        team.later(sibling_delay, [&team, &to = sibling->sender, told = *news] {
          to.engine.on_sibling_congestion(team.events_.now(), told);
          to.wakeup.soon();
        });
      }
    }
  }
  lane.source.on_progress(engine.frontier(), engine.oldest_unacknowledged(), engine.retention_target());
  if (const auto left = engine.stats().last_new_sent_at)
    team.outcome_.last_new_at = std::max(team.outcome_.last_new_at.value_or(*left), *left);
  team.table_.on_frontier(lane.place.lane, engine.frontier());
  team.balance();
  PENSTOCK_CHECK(wakeup.arm(engine.poll_timeout()));
}

void TeamLab::Lane::ReceiverEnd::turn() {
  TeamLab& team = lane.lab;
  const TimePoint now = team.events_.now();
  if (const auto due = engine.poll_timeout(); due && *due <= now) engine.handle_timeout(now);
  while (const auto batch = engine.poll_transmit(now, lane.sink, lane.buffer)) lane.transmit(*batch, *team.backward_);
  while (const auto event = engine.poll_event()) {
    if (const auto* closed = std::get_if<engine::Closed>(&*event)) lane.note_closed(*closed);
    if (std::holds_alternative<engine::Drained>(*event)) lane.sink.flush();
  }
  if (!team.outcome_.arrived_at && team.is_here()) team.outcome_.arrived_at = now;
  PENSTOCK_CHECK(wakeup.arm(engine.poll_timeout()));
}

TeamLab::TeamLab(const TeamOptions& options)
    : options_(options),
      luck_(options.seed),
      start_(1s),
      events_(start_),
      truth_(make_content(luck_, options.bytes)),
      senders_(events_, Duration{0}),
      receivers_(events_, Duration{0}),
      table_(options.lanes),
      desk_(options.lanes) {
  const std::uint64_t bdp = options.rate.bytes_in(options.rtt);
  netem::LinkSettings link{.delay = options.rtt / 2,
                           .rate = options.rate,
                           .queue = {.bytes = std::max<std::uint64_t>(bdp, 64 * KiB), .packets = 10'000'000},
                           .overhead = 28,
                           .reorder = options.reorder,
                           .reorder_delay = 2ms};
  link.loss = options.loss;
  forward_ = std::make_unique<Pipe>(
      events_, link, luck_.next(), 0, trace_,
      [this](Datagram datagram, engine::EcnMark mark) { receivers_.deliver(std::move(datagram), mark); });
  link.loss = options.ack_loss;
  backward_ = std::make_unique<Pipe>(
      events_, link, luck_.next(), 1, trace_,
      [this](Datagram datagram, engine::EcnMark mark) { senders_.deliver(std::move(datagram), mark); });
  for (std::size_t lane = 0; lane < options.lanes; ++lane) lanes_.push_back(std::make_unique<Lane>(*this, lane));
  if (options.death) {
    const Lane& dying = *lanes_.at(options.death->lane);
    const TimePoint at = start_ + options.death->after;
    forward_->drop([&dying, at](const Sighting& s) { return s.at >= at && s.header.connection == dying.receiver_id; });
    backward_->drop([&dying, at](const Sighting& s) { return s.at >= at && s.header.connection == dying.sender_id; });
    later(options.death->after + silence, [this] { end_lane(options_.death->lane); });
  }
  for (const auto& lane : lanes_) {
    const TransferOffset end{options.bytes};
    lane->sink.expect(end);
    lane->receiver.engine.expect(end);
    lane->receiver.engine.finish(end);
    lane->sender.engine.open_path(start_);
    lane->sender.engine.offer(end);
    lane->sender.engine.finish(end);
    lane->sender.wakeup.soon();
  }
  const Duration whole = options.rate.time_for(options.bytes);
  for (std::uint32_t i = 0; i < options.moves; ++i)
    later(whole * static_cast<Duration::rep>(luck_.below(1000)) / 1000, [this] { move_one(); });
}

TeamLab::~TeamLab() = default;

void TeamLab::later(Duration after, EventQueue::Action action) {
  events_.schedule(events_.now() + after, std::move(action));
}

void TeamLab::move_one() {
  const auto from = static_cast<std::size_t>(luck_.below(options_.lanes));
  const auto to = static_cast<std::size_t>(luck_.below(options_.lanes));
  if (from != to) carry({.from = from, .to = to, .below = {options_.bytes}});
}

void TeamLab::balance() {
  while (const auto wish = table_.poll_wish()) carry(*wish);
}

void TeamLab::carry(const engine::ExtentTable::Wish& wish) {
  later(sibling_delay, [this, wish] {
    if (table_.is_over(wish.from)) return;
    auto yielded = lanes_[wish.from]->sender.engine.yield(wish.to, wish.below);
    std::optional<std::uint64_t> extent;
    if (yielded) extent = yielded->extent;
    for (const auto& told : table_.on_yielded(wish, extent, yielded ? yielded->state : engine::ExtentState{}))
      say(told);
  });
}

void TeamLab::end_lane(std::size_t lane) {
  if (is_known()) return;
  table_.on_lane_ending(lane);
  lanes_[lane]->sender.gone = true;
  say(table_.on_lane_over(lane, lanes_[lane]->sender.engine.surrender()));
}

void TeamLab::say(const engine::NumberedMove& move) {
  ++outcome_.moves;
  later(options_.rtt / 2, [this, move] {
    PENSTOCK_CHECK(desk_.on_move(move));
    pump_desk();
  });
}

void TeamLab::pump_desk() {
  const auto move = desk_.poll();
  if (!move) return;
  later(sibling_delay, [this, move = *move] {
    Lane& from = *lanes_[move.move.from];
    const auto state = from.receiver.engine.give_up(move.move);
    PENSTOCK_CHECK(state);
    from.sink.flush();
    later(sibling_delay, [this, move, state = *state] {
      for (const auto& lane : lanes_) {
        if (lane->place.lane == move.move.from) continue;
        if (lane->place.lane == move.move.to)
          PENSTOCK_CHECK(lane->receiver.engine.adopt(move.move, state));
        else
          lane->receiver.engine.note(move.move);
        lane->receiver.wakeup.soon();
      }
      desk_.on_done();
      later(options_.rtt / 2, [this, number = move.number] { admitted(number); });
      pump_desk();
    });
  });
}

void TeamLab::admitted(std::uint64_t number) {
  const auto known = table_.on_admitted(number);
  PENSTOCK_CHECK(known);
  for (const auto& lane : lanes_) {
    if (lane->sender.gone || lane->place.lane == known->move.from) continue;
    if (lane->place.lane == known->move.to)
      lane->sender.engine.adopt(known->move, known->state);
    else
      lane->sender.engine.note(known->move);
    lane->sender.wakeup.soon();
  }
  balance();
}

bool TeamLab::is_here() const {
  const auto accepted = [](std::uint64_t sum, const auto& lane) { return sum + lane->sink.bytes_accepted(); };
  return std::accumulate(lanes_.begin(), lanes_.end(), std::uint64_t{0}, accepted) >= options_.bytes;
}

bool TeamLab::is_known() const {
  if (!outcome_.arrived_at || table_.is_moving()) return false;
  return std::all_of(lanes_.begin(), lanes_.end(), [this](const auto& lane) {
    return lane->sender.gone || lane->sender.engine.oldest_unacknowledged().value == options_.bytes;
  });
}

TeamOutcome TeamLab::run(Duration length) {
  while (!is_known() && outcome_.closed.empty() && events_.run_one(start_ + length)) {
  }
  outcome_.complete = is_known();
  for (const auto& lane : lanes_) lane->sink.flush();
  const TimePoint written = events_.now() + options_.sink.latency;
  while (events_.run_one(written)) {
  }
  for (std::uint64_t at = 0; at < truth_.size(); ++at) {
    const bool right = std::any_of(lanes_.begin(), lanes_.end(),
                                   [&](const auto& lane) { return lane->sink.content()[at] == truth_[at]; });
    outcome_.bytes_missing += right ? 0U : 1U;
  }
  for (const auto& lane : lanes_) {
    outcome_.bytes_accepted += lane->sink.bytes_accepted();
    outcome_.violations.push_back(lane->sink.violations());
    outcome_.senders.push_back(lane->sender.engine.stats());
    outcome_.receivers.push_back(lane->receiver.engine.stats());
  }
  return std::move(outcome_);
}

}  // namespace penstock::sim
