#include "tests/sim/lane.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "common/check.h"
#include "common/crypto/key_schedule.h"
#include "common/digest/xxh3.h"
#include "dataplane/engine/lane_config.h"
#include "tests/sim/made_up.h"

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t spoofed_address = 1'000'000;
constexpr int batches_per_turn_max = 100'000;
constexpr Duration quiet_after = 5ms;  // then the driver flushes partly filled slabs

Fingerprint fingerprint(std::span<const std::byte> content) { return {content.size(), digest::xxh3(content)}; }

void name_if(std::string& text, std::uint64_t count, std::string_view what) {
  if (count > 0) text += std::to_string(count) + " x " + std::string{what} + "; ";
}

}  // namespace

std::string to_string(const SinkViolations& violations) {
  std::string text;
  name_if(text, violations.lent_over_accepted, "borrowed memory over accepted bytes");
  name_if(text, violations.accepted_twice, "handed over bytes that were here");
  name_if(text, violations.committed_elsewhere, "committed what was not lent");
  name_if(text, violations.wrong_bytes, "handed over wrong bytes");
  return text;
}

std::string to_string(const WireViolations& violations) {
  std::string text;
  name_if(text, violations.numbers_reused, "packet number not above the last");
  name_if(text, violations.oversized, "datagram too long");
  name_if(text, violations.slabs_crossed, "DATA across a slab boundary");
  name_if(text, violations.beyond_offer, "DATA beyond the offer");
  name_if(text, violations.credit_exceeded, "DATA beyond any credit");
  return text;
}

/// Drawn before the parts that need them.
struct Lane::Secrets {
  explicit Secrets(Rng& luck)
      : to_receiver(make_secret(luck)),
        to_sender(make_secret(luck)),
        sender_id{luck.next()},
        receiver_id{luck.next()},
        sender_luck(luck.split()),
        receiver_luck(luck.split()) {}

  engine::LaneKeys sender_keys(const crypto::AeadBackend* backend) const {
    return {backend, to_receiver.clone(), to_sender.clone(), receiver_id, sender_id};
  }
  engine::LaneKeys receiver_keys(const crypto::AeadBackend* backend) const {
    return {backend, to_sender.clone(), to_receiver.clone(), sender_id, receiver_id};
  }

  crypto::TrafficSecret to_receiver;
  crypto::TrafficSecret to_sender;
  ConnectionId sender_id;
  ConnectionId receiver_id;
  Rng sender_luck;
  Rng receiver_luck;
};

Lane::Lane(EventQueue& events, const EngineOptions& options, LanePlan plan, Rng& luck, Host& sender_host,
           Host& receiver_host, Pipe& to_receiver, Pipe& to_sender)
    : Lane(events, options, std::move(plan), Secrets{luck}, luck, sender_host, receiver_host, to_receiver, to_sender) {}

Lane::Lane(EventQueue& events, const EngineOptions& options, LanePlan plan, Secrets secrets, Rng& luck,
           Host& sender_host, Host& receiver_host, Pipe& to_receiver, Pipe& to_sender)
    : events_(events),
      options_(options),
      plan_(std::move(plan)),
      luck_(luck.split()),
      truth_(make_content(luck_, plan_.bytes)),
      source_(events, truth_, options.source,
              [this] {
                sender_end_.engine.on_source_ready();
                sender_end_.wakeup.soon();
              }),
      sink_(events, truth_, options.sink,
            [this] {
              receiver_end_.engine.on_sink_room(events_.now());
              after_writing();
              receiver_end_.wakeup.soon();
            }),
      to_receiver_(to_receiver),
      to_sender_(to_sender),
      buffer_(engine::udp_payload_limit),
      sender_end_(*this, engine::Sender{options.sender, secrets.sender_keys(options.backend), secrets.sender_luck},
                  secrets.sender_id, sender_host),
      receiver_end_(*this,
                    engine::Receiver{options.receiver, secrets.receiver_keys(options.backend), secrets.receiver_luck},
                    secrets.receiver_id, receiver_host),
      credit_bound_(std::max(options.sender.initial_credit, sink_.room())) {
  if (plan_.taps_repair) tap_.emplace(secrets.to_receiver, *options.backend);
  sender_host.add(sender_end_.own_id, sender_end_);
  receiver_host.add(receiver_end_.own_id, receiver_end_);
  for (const TransferRange& range : plan_.held) {
    sink_.preload(range);
    if (!plan_.source_knows_held) held_unknown_ += range.size();
  }
  to_receiver_.drop([this](const Sighting& sighting) {
    watch_data(sighting);
    return false;
  });
  to_sender_.drop([this](const Sighting& sighting) {
    if (sighting.header.connection != sender_end_.own_id) return false;
    if (last_number_to_sender_ && sighting.header.number <= *last_number_to_sender_) ++wire_violations_.numbers_reused;
    last_number_to_sender_ = sighting.header.number;
    return false;
  });
  events_.schedule(events_.now() + plan_.start_after, [this] { start(); });
}

bool Lane::is_over() const { return is_complete() || !failure_.empty() || sender_end_.closed || receiver_end_.closed; }

LaneOutcome Lane::outcome() const {
  const std::uint64_t wrong = sender_end_.fillers.wrong() + receiver_end_.fillers.wrong();
  const std::uint64_t missing =
      is_complete() ? sender_end_.fillers.missing() + receiver_end_.fillers.missing() : std::uint64_t{0};
  return {.sent = fingerprint(truth_),
          .received = fingerprint(sink_.content()),
          .complete = is_complete(),
          .finished_at = finished_at_,
          .confirmed_at = confirmed_at_,
          .first_byte_at = first_byte_at_,
          .sender = sender_end_.engine.stats(),
          .receiver = receiver_end_.engine.stats(),
          .sender_closed = sender_end_.closed,
          .receiver_closed = receiver_end_.closed,
          .sink_violations = sink_.violations(),
          .wire_violations = wire_violations_,
          .messages_delivered = sender_end_.fillers.delivered() + receiver_end_.fillers.delivered(),
          .messages_wrong = wrong + missing,
          .stores_refused = sink_.stores_refused(),
          .sent_to_spoofed = sent_to_spoofed_,
          .came_from_spoofed = came_from_spoofed_,
          .repairs_seen = repairs_seen_,
          .ratios_agreed = ratios_agreed_,
          .failure = failure_};
}

/// The client knows where the daemon is; the daemon learns it from the first authentic datagram.
void Lane::start() {
  if (plan_.pull) {
    receiver_end_.engine.open_path(events_.now());
  } else {
    sender_end_.engine.open_path(events_.now());
  }
  if (plan_.source_knows_held) {
    for (const TransferRange& range : plan_.held) sender_end_.engine.withhold(range);
  }
  for (const Move& move : plan_.moves) {
    events_.schedule(events_.now() + move.after, [this] {
      moved_at_.push_back((plan_.pull ? last_number_to_sender_ : last_number_to_receiver_).value_or(0) + 1);
    });
  }
  for (std::uint32_t step = 1; step <= plan_.offers; ++step) {
    events_.schedule(events_.now() + (step - 1) * plan_.offer_gap, [this, step] { offer(step); });
  }
  for (std::uint32_t index = 0; index < plan_.messages; ++index) {
    events_.schedule(events_.now() + index * plan_.message_gap, [this] {
      send_filler(Source::sender);
      send_filler(Source::receiver);
      ++fillers_sent_;
      confirm_if_all_said();
    });
  }
  sender_end_.wakeup.soon();
  receiver_end_.wakeup.soon();
}

void Lane::offer(std::uint32_t step) {
  const bool last = step == plan_.offers;
  offered_ = last ? plan_.bytes : plan_.bytes / plan_.offers * step;
  const TransferOffset end{offered_};
  sender_end_.engine.offer(end);
  if (last) sender_end_.engine.finish(end);
  say_to_receiver({.type = last ? SessionMessage::Type::manifest_end : SessionMessage::Type::manifest,
                   .range = {TransferOffset{}, end}});
}

void Lane::send_filler(Source from) {
  SessionMessage message{.type = SessionMessage::Type::filler};
  message.filler.resize(luck_.below(plan_.message_size_max + 1));
  luck_.fill(message.filler);
  const auto bytes = encode_session_message(message);
  // One that the engine's bound refuses goes by TCP and is not this test's business.
  if (from == Source::sender) {
    if (sender_end_.engine.queue_control(bytes)) receiver_end_.fillers.expect(std::move(message.filler));
    sender_end_.wakeup.soon();
  } else {
    if (receiver_end_.engine.queue_control(bytes)) sender_end_.fillers.expect(std::move(message.filler));
    receiver_end_.wakeup.soon();
  }
}

void Lane::say_to_receiver(const SessionMessage& message) {
  if (!sender_end_.engine.queue_control(encode_session_message(message))) {
    events_.schedule(events_.now() + options_.tcp_delay, [this, message] {
      receiver_end_.handle(message);
      receiver_end_.wakeup.soon();
    });
  }
  sender_end_.wakeup.soon();
}

void Lane::say_to_sender(const SessionMessage& message) {
  if (!receiver_end_.engine.queue_control(encode_session_message(message))) {
    events_.schedule(events_.now() + options_.tcp_delay, [this, message] {
      sender_end_.handle(message);
      sender_end_.wakeup.soon();
    });
  }
  receiver_end_.wakeup.soon();
}

/// The receiver has everything: once it is written, the next repair round begins, or the transfer is over.
void Lane::after_writing() {
  if (!receiver_end_.drained || !sink_.is_written() || finished_at_) return;
  if (repair_round_ < plan_.repairs.size()) {
    receiver_end_.drained = false;
    for (const TransferRange& range : plan_.repairs[repair_round_++]) {
      sink_.damage(range);
      receiver_end_.engine.forget(range);
      say_to_sender({.type = SessionMessage::Type::repair, .range = range});
    }
    return;
  }
  finished_at_ = events_.now();
  confirm_if_all_said();
}

/// The last word: the sender closes upon it, so every message must have been queued and, to us, delivered.
void Lane::confirm_if_all_said() {
  if (!finished_at_ || fillers_sent_ < plan_.messages || receiver_end_.fillers.missing() > 0) return;
  if (!std::exchange(done_said_, true)) say_to_sender({.type = SessionMessage::Type::done});
}

void Lane::watch_data(const Sighting& sighting) {
  if (sighting.header.connection != receiver_end_.own_id) return;
  if (last_number_to_receiver_ && sighting.header.number <= *last_number_to_receiver_)
    ++wire_violations_.numbers_reused;
  last_number_to_receiver_ = sighting.header.number;
  if (!sighting.header.offset) {
    if (const auto repair = tap_ ? tap_->read(sighting.at, sighting.bytes) : std::nullopt)
      repairs_seen_.push_back(*repair);
    return;
  }
  if (!first_byte_at_) first_byte_at_ = sighting.at;
  const std::uint64_t begin = sighting.header.offset->value;
  const std::uint64_t end = begin + sighting.header.payload;
  if (begin / engine::slab_size != (end - 1) / engine::slab_size) ++wire_violations_.slabs_crossed;
  if (end > offered_) ++wire_violations_.beyond_offer;
  sent_distinct_.insert({begin, end});
  if (sent_distinct_.size() > credit_bound_ + held_unknown_) ++wire_violations_.credit_exceeded;
}

void Lane::fail(std::string_view why) {
  if (failure_.empty()) failure_ = why;
}

std::size_t Lane::address_of(std::span<const std::byte> datagram) {
  const auto header = read_clear_header(datagram);
  if (!header) return client_address_;
  if (spoofed_.erase(header->number) > 0) return spoofed_address;
  const auto moves = std::upper_bound(moved_at_.begin(), moved_at_.end(), header->number) - moved_at_.begin();
  return static_cast<std::size_t>(moves);
}

template <class Engine>
void Lane::follow(Engine& engine, const engine::BatchOutcome& outcome, std::span<const std::byte> batch) {
  const std::size_t from = address_of(batch);
  if (from == spoofed_address) came_from_spoofed_ += batch.size();
  if (outcome.authentic == 0) return;
  if (outcome.peer_moved && client_proposed_) client_address_ = *std::exchange(client_proposed_, std::nullopt);
  if (from == client_address_) return;
  if (engine.asks_proposed()) {
    if (client_proposed_ == from) engine.on_bytes_from_proposed(batch.size());
    return;
  }
  if (!outcome.newest_authentic) return;
  const auto change =
      from < plan_.moves.size() + 1 && from > 0 ? plan_.moves[from - 1].change : engine::AddressChange::host;
  if (engine.propose_address(events_.now(), change, batch.size())) client_proposed_ = from;
}

void Lane::transmit(const engine::Transmit& batch, std::size_t datagram_max, Pipe& pipe, Side from) {
  if (from == Side::daemon) {
    const std::size_t to = batch.to_proposed ? client_proposed_.value_or(client_address_) : client_address_;
    if (to == spoofed_address) sent_to_spoofed_ += batch.size;
    if (to != moved_at_.size()) return;  // nobody there (any more)
  }
  PENSTOCK_CHECK(batch.size > 0 && batch.segment_size > 0 && batch.size <= buffer_.size());
  for (std::size_t at = 0; at < batch.size; at += batch.segment_size) {
    const std::size_t size = std::min(batch.segment_size, batch.size - at);
    if (size > datagram_max) ++wire_violations_.oversized;
    pipe.send(std::span{buffer_}.subspan(at, size), batch.mark);
  }
}

void Lane::SenderEnd::receive(std::span<std::byte> batch, std::size_t segment_size, engine::EcnMark mark) {
  const auto outcome = engine.handle_datagrams(lane.events_.now(), batch, segment_size, mark);
  if (!lane.plan_.pull) return;
  if (outcome.authentic > 0) engine.open_path(lane.events_.now());
  lane.follow(engine, outcome, batch);
}

void Lane::SenderEnd::turn() {
  const TimePoint now = lane.events_.now();
  if (const auto due = engine.poll_timeout(); due && *due <= now) engine.handle_timeout(now);
  int batches = 0;
  while (const auto batch = engine.poll_transmit(now, lane.source_, lane.buffer_)) {
    const auto& sizes = lane.options_.sender;
    lane.transmit(*batch, std::max(sizes.udp_payload_size, sizes.udp_payload_max), lane.to_receiver_,
                  lane.plan_.pull ? Side::daemon : Side::client);
    if (++batches > batches_per_turn_max) return lane.fail("the sender's poll_transmit does not end");
  }
  while (auto event = engine.poll_event()) handle(std::move(*event));
  lane.source_.on_progress(engine.frontier(), engine.oldest_unacknowledged(), engine.retention_target());
  if (!wakeup.arm(engine.poll_timeout())) lane.fail("the sender's deadline stays in the past");
}

void Lane::SenderEnd::handle(engine::SenderEvent event) {
  if (const auto* prefetch = std::get_if<engine::Prefetch>(&event)) {
    lane.source_.prefetch(prefetch->range);
  } else if (const auto* control = std::get_if<engine::ControlReceived>(&event)) {
    if (const auto message = decode_session_message(control->message)) {
      handle(*message);
    } else {
      fillers.on_garbage();
    }
    wakeup.soon();
  } else if (const auto* proposal = std::get_if<engine::RepairProposal>(&event)) {
    lane.say_to_receiver({.type = SessionMessage::Type::ratio, .ratio = proposal->ratio});
  } else if (const auto* over = std::get_if<engine::Closed>(&event)) {
    closed = *over;
  }
}

void Lane::SenderEnd::handle(const SessionMessage& message) {
  switch (message.type) {
    case SessionMessage::Type::ratio_agreed:
      engine.on_repair_agreed(message.ratio);
      lane.ratios_agreed_.push_back({lane.events_.now(), message.ratio});
      break;
    case SessionMessage::Type::held:
      engine.withhold(message.range);
      break;
    case SessionMessage::Type::repair:
      engine.resend(message.range);
      break;
    case SessionMessage::Type::done:
      if (!lane.confirmed_at_) lane.confirmed_at_ = lane.events_.now();
      engine.close(engine::TransportError::none);
      break;
    default:
      fillers.on_arrival(message.filler);
  }
}

void Lane::ReceiverEnd::receive(std::span<std::byte> batch, std::size_t segment_size, engine::EcnMark mark) {
  const auto outcome = engine.handle_datagrams(lane.events_.now(), batch, segment_size, lane.sink_, mark);
  if (!lane.plan_.pull) {
    if (outcome.authentic > 0) engine.open_path(lane.events_.now());
    lane.follow(engine, outcome, batch);
  }
  last_receive = lane.events_.now();
  watch_for_quiet();
}

void Lane::ReceiverEnd::turn() {
  const TimePoint now = lane.events_.now();
  if (const auto due = engine.poll_timeout(); due && *due <= now) engine.handle_timeout(now);
  // Before anything is granted: what the engine reports is at most what it has taken and what there is room for.
  lane.credit_bound_ = std::max(lane.credit_bound_, lane.sink_.bytes_accepted() + lane.sink_.room());
  int batches = 0;
  while (const auto batch = engine.poll_transmit(now, lane.sink_, lane.buffer_)) {
    lane.transmit(*batch, lane.options_.receiver.udp_payload_size, lane.to_sender_,
                  lane.plan_.pull ? Side::client : Side::daemon);
    if (++batches > batches_per_turn_max) return lane.fail("the receiver's poll_transmit does not end");
  }
  while (auto event = engine.poll_event()) handle(std::move(*event));
  if (!wakeup.arm(engine.poll_timeout())) lane.fail("the receiver's deadline stays in the past");
}

void Lane::ReceiverEnd::handle(engine::ReceiverEvent event) {
  if (const auto* control = std::get_if<engine::ControlReceived>(&event)) {
    if (const auto message = decode_session_message(control->message)) {
      handle(*message);
    } else {
      fillers.on_garbage();
    }
    wakeup.soon();
  } else if (const auto* arrived = std::get_if<engine::Drained>(&event)) {
    if (!manifest_complete || arrived->end != TransferOffset{lane.plan_.bytes}) return;
    drained = true;
    lane.sink_.flush();
    lane.after_writing();
  } else if (const auto* over = std::get_if<engine::Closed>(&event)) {
    closed = *over;
  }
}

void Lane::ReceiverEnd::handle(const SessionMessage& message) {
  if (message.type == SessionMessage::Type::ratio) {
    engine.on_repair_agreed(message.ratio);
    return lane.say_to_sender({.type = SessionMessage::Type::ratio_agreed, .ratio = message.ratio});
  }
  const bool is_end = message.type == SessionMessage::Type::manifest_end;
  if (!is_end && message.type != SessionMessage::Type::manifest) {
    fillers.on_arrival(message.filler);
    return lane.confirm_if_all_said();
  }
  if (message.range.end < expected) return;  // by TCP, overtaken by the pipe
  const TransferOffset known = std::exchange(expected, message.range.end);
  engine.expect(expected);
  lane.sink_.expect(expected);
  // The verdicts on this part of the manifest.
  for (const TransferRange& held : lane.plan_.held) {
    const TransferRange part{std::max(held.begin, known), std::min(held.end, expected)};
    if (part.begin >= part.end) continue;
    engine.withhold(part);
    if (!lane.plan_.source_knows_held) lane.say_to_sender({.type = SessionMessage::Type::held, .range = part});
  }
  if (is_end && !std::exchange(manifest_complete, true)) engine.finish(expected);
}

void Lane::ReceiverEnd::watch_for_quiet() {
  if (std::exchange(quiet_scheduled, true)) return;
  lane.events_.schedule(last_receive + quiet_after, [this] {
    quiet_scheduled = false;
    if (lane.events_.now() < last_receive + quiet_after) return watch_for_quiet();
    lane.sink_.on_quiet();
  });
}

}  // namespace penstock::sim
