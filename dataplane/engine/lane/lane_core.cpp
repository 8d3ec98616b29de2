#include "dataplane/engine/lane/lane_core.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace penstock::engine {
namespace {

// OLDEST_NEEDED once a round trip, but not for ever again on a path of microseconds.
constexpr Duration oldest_needed_interval_min = std::chrono::milliseconds{4};
constexpr std::uint32_t epochs_kept_probe_timeouts = 3;  // PROTOCOL section 2

// A probe of which nothing was heard for so many PTO is lost: with nothing else in flight no acknowledgement says so.
constexpr int size_probe_timeouts = 3;
constexpr std::size_t ethernet_mtu = 1500;  // what most paths carry

constexpr std::size_t path_frame_size = frame_header_size + std::tuple_size_v<PathData>;
constexpr std::size_t challenge_size = frames_header_size + path_frame_size + crypto::aead_tag_size;

PmtuSearch::Config search_config(const LaneCoreConfig& config) {
  const std::size_t start = std::clamp(config.recovery.datagram_size, udp_payload_min, udp_payload_limit);
  return {.start = start,
          .ceiling = std::min(std::max(start, config.datagram_size_max), udp_payload_limit),
          .likely = ethernet_mtu - config.recovery.ip_overhead};
}

/// Congestion control thinks in datagrams of the likely size from the start, so that a search costs no window.
RecoveryConfig recovery_config(const LaneCoreConfig& config) {
  const PmtuSearch search(search_config(config));
  RecoveryConfig recovery = config.recovery;
  recovery.datagram_size = search.assumed();
  recovery.base_size = search.settled() ? udp_payload_limit : search.size();
  return recovery;
}

bool is_ack_eliciting(FrameType type) {
  return type == FrameType::ping || type == FrameType::control || type == FrameType::repair;
}

}  // namespace

LaneCore::LaneCore(const LaneCoreConfig& config, LaneKeys keys, Rng rng)
    : sends_bulk_(config.sends_bulk),
      datagram_size_(std::clamp(config.recovery.datagram_size, udp_payload_min, udp_payload_limit)),
      peer_id_(keys.peer_id),
      own_id_(keys.own_id),
      seal_keys_(*keys.backend, std::move(keys.send_secret), config.key_update_packets),
      open_keys_(*keys.backend, std::move(keys.receive_secret)),
      challenges_(Rng{rng}.split()),
      size_search_(search_config(config)),
      recovery_(recovery_config(config), std::move(rng)),
      scratch_(size_search_.ceiling()) {}

void LaneCore::open_path(TimePoint) {
  if (state_ == State::waiting) state_ = State::open;
}

void LaneCore::close(TransportError reason, bool by_peer) {
  if (is_over()) return;
  const bool said = !by_peer && state_ == State::open;
  if (said) goodbye_.owe();
  state_ = said ? State::closing : State::closed;
  close_reason_ = reason;
  events_.emplace_back(Closed{reason, by_peer});
}

// --- in -------------------------------------------------------------------------------------------------------------

std::optional<LaneCore::Admitted> LaneCore::admit(std::span<std::byte> datagram, EcnMark mark) {
  const auto header = decode_packet_header(datagram);
  if (!header || header->connection != own_id_) {
    ++stats_.packets_malformed;
    return std::nullopt;
  }
  const auto largest = replay_.largest();
  const PacketNumber number =
      largest ? reconstruct_packet_number(header->number_low, *largest) : PacketNumber{header->number_low};
  if (replay_.is_seen(number)) {
    ++stats_.packets_duplicate;
    return std::nullopt;
  }
  const std::size_t size = header_size(header->type);
  return Admitted{*header, number, mark, datagram.first(size), datagram.subspan(size)};
}

bool LaneCore::open(TimePoint now, const Admitted& packet, std::byte* out) {
  const KeyEpoch before = open_keys_.epoch();
  const auto outcome = open_keys_.open(now, epochs_kept_probe_timeouts * recovery_.rtt().probe_timeout(),
                                       packet.header.epoch_bits, packet.number, packet.aad, packet.sealed, out);
  if (outcome == OpenKeys::Outcome::opened) {
    if (open_keys_.epoch() != before) confirmation_owed_ = open_keys_.epoch();
    return true;
  }
  ++stats_.packets_unauthentic;
  if (open_keys_.worn_out()) close(TransportError::open_failures);
  return false;
}

void LaneCore::accept(TimePoint now, const Admitted& packet, bool ack_eliciting, BatchOutcome& outcome) {
  const auto largest = replay_.largest();
  if (!largest || packet.number > *largest) outcome.newest_authentic = true;
  replay_.mark_seen(packet.number);
  acks_.on_packet_received(now, packet.number, ack_eliciting, packet.mark);
  ++outcome.authentic;
  ++stats_.packets_received;
  stats_.bytes_received += packet.aad.size() + packet.sealed.size();
  if (!stats_.last_heard) events_.emplace_back(PeerHeard{});
  stats_.last_heard = now;
  if (state_ == State::closing) goodbye_.on_datagram();
}

void LaneCore::handle_frames(TimePoint now, const Admitted& packet, BatchOutcome& outcome, DeliveryNews& news) {
  if (!open(now, packet, packet.sealed.data())) return;
  const auto frames = packet.sealed.first(packet.sealed.size() - crypto::aead_tag_size);
  bool ack_eliciting = false;
  bool malformed = false;
  FrameReader reader(frames);
  while (const auto frame = reader.next()) {
    if (!*frame) {
      malformed = true;
      break;
    }
    ack_eliciting = ack_eliciting || is_ack_eliciting((*frame)->type);
  }
  accept(now, packet, ack_eliciting, outcome);
  if (state_ == State::closed) return;
  if (malformed) return close(TransportError::protocol_violation);
  counts_in_hand_.reset();
  FrameReader again(frames);
  while (const auto frame = again.next()) {
    handle_frame(now, **frame, outcome, news);
    if (state_ == State::closed) return;
  }
}

void LaneCore::handle_frame(TimePoint now, const RawFrame& frame, BatchOutcome& outcome, DeliveryNews& news) {
  if (frame.type == FrameType::close) {
    const auto reason = decode_close(frame.body);
    // The peer is gone whatever it meant to say.
    if (state_ == State::closing) state_ = State::closed;
    return close(reason ? *reason : TransportError::protocol_violation, true);
  }
  if (is_over()) return;
  bool well_formed = true;
  switch (frame.type) {
    case FrameType::ack:
      return handle_ack(now, frame.body, news);
    case FrameType::credit: {
      const auto credit = decode_credit(frame.body);
      well_formed = credit.ok();
      if (!credit) break;
      peer_credit_.credit = std::max(peer_credit_.credit, credit->credit);
      peer_credit_.offset_limit = std::max(peer_credit_.offset_limit, credit->offset_limit);
      break;
    }
    case FrameType::control: {
      const auto control = decode_control(frame.body);
      well_formed = control.ok();
      if (!control) break;
      messages_.clear();
      const TransportError fault = control_in_.on_data(control->stream_offset, control->data, messages_);
      for (auto& message : messages_) events_.emplace_back(ControlReceived{std::move(message)});
      if (fault != TransportError::none) return close(fault);
      break;
    }
    case FrameType::oldest_needed: {
      const auto number = decode_oldest_needed(frame.body);
      well_formed = number.ok();
      if (number) acks_.tracker().on_oldest_needed(*number);
      break;
    }
    case FrameType::ping:
      well_formed = decode_ping(frame.body).ok();
      break;
    case FrameType::key_update: {
      const auto epoch = decode_key_update(frame.body);
      well_formed = epoch.ok() && seal_keys_.on_confirmed(*epoch);
      break;
    }
    case FrameType::path_challenge: {
      const auto challenge = decode_path_data(frame.body);
      well_formed = challenge.ok();
      if (challenge) response_owed_ = *challenge;
      break;
    }
    case FrameType::path_response: {
      const auto answer = decode_path_data(frame.body);
      well_formed = answer.ok();
      if (!answer) break;
      if (const auto move = address_.on_response(now, *answer)) {
        outcome.peer_moved = true;
        on_peer_moved(now, *move, news);
      }
      break;
    }
    case FrameType::ecn_counts: {
      const auto counts = decode_ecn_counts(frame.body);
      well_formed = counts.ok();
      if (counts) counts_in_hand_ = *counts;
      break;
    }
    case FrameType::skip:
      well_formed = decode_skip(frame.body).ok();
      break;
    case FrameType::final_offset:
      well_formed = decode_final_offset(frame.body).ok();
      break;
    case FrameType::repair:
      if (sends_bulk_) break;                    // of nothing that we receive
      well_formed = news.repair_frames.empty();  // one a datagram: each costs a walk over its generation
      news.repair_frames.push_back(frame.body);
      break;
    case FrameType::padding:
    case FrameType::close:
      break;
  }
  if (!well_formed) close(TransportError::protocol_violation);
}

bool LaneCore::propose_address(TimePoint now, AddressChange change, std::uint64_t bytes) {
  if (state_ != State::open || address_.asking()) return false;
  PathData challenge;
  challenges_.fill(challenge);
  return address_.propose(now, change, challenge, bytes);
}

void LaneCore::on_peer_moved(TimePoint now, const AddressMove& move, DeliveryNews& news) {
  ++stats_.peer_moves;
  recovery_.revalidate_marks();
  // What we acknowledged since it moved went to the old address.
  acks_.tracker().owe(now);
  // Another port is a NAT that forgot; the path behind it is the same. But what went to the old port may be a whole
  // window, and then nothing would leave until a probe time-out, backed off by all those that had passed.
  if (move.change == AddressChange::port) {
    if (recovery_.probe_at_once(now)) choose_probe();
    return;
  }
  // RFC 9002 section 6.2.2: the challenge's delay may set the initial RTT, and is no sample. Where it was repeated, the
  // old path's round trip says which of the repeats was answered as well as anything.
  const Duration rtt = std::clamp(recovery_.rtt().smoothed(), move.rtt_least, move.rtt_most);
  recovery_.on_path_changed(now, rtt, news);
  for (const auto& range : news.control_lost) control_out_.on_lost(range);
  news.control_lost.clear();
  size_search_.restart(recovery_.next_number());
  recovery_.on_datagram_size(size_search_.assumed());
}

void LaneCore::handle_ack(TimePoint now, std::span<const std::byte> body, DeliveryNews& news) {
  auto ack = decode_ack(body, ack_ranges_, ack_held_);
  if (!ack) return close(TransportError::protocol_violation);
  ack->marks = std::exchange(counts_in_hand_, std::nullopt);
  if (!recovery_.on_ack(now, *ack, news)) return close(TransportError::acknowledged_unsent);
  if (const auto largest = recovery_.largest_acked()) seal_keys_.on_acked(*largest);
  peer_credit_.credit = std::max(peer_credit_.credit, ack->fields.credit.credit);
  peer_credit_.offset_limit = std::max(peer_credit_.offset_limit, ack->fields.credit.offset_limit);
  if (!ack->held.ranges.empty() && ack->largest >= held_valid_from_) {
    news.data_held.insert(news.data_held.end(), ack_held_.begin(), ack_held_.end());
    // No more than were sent can have been of use, whatever a peer counts.
    stats_.symbols_recovered = std::max(stats_.symbols_recovered, std::min(ack->held.recovered, stats_.repairs_sent));
  }
  stats_.peer_socket_drops = std::max<std::uint64_t>(stats_.peer_socket_drops, ack->fields.socket_drops);
  for (const auto& range : news.control_acked) control_out_.on_acked(range);
  for (const auto& range : news.control_lost) control_out_.on_lost(range);
  news.control_acked.clear();
  news.control_lost.clear();
}

// --- time -----------------------------------------------------------------------------------------------------------

TimerTable LaneCore::timers() const {
  TimerTable table;
  if (state_ == State::closing) {
    table[Timer::close_repeat] = goodbye_.repeat_at();
    return table;
  }
  if (state_ != State::open) return table;
  // A deadline that nothing can be done about would only wake the driver again and again.
  if (recovery_.can_send() && !seal_keys_.exhausted()) table[Timer::ack] = acks_.deadline(recovery_.rtt().smoothed());
  table[Timer::pacing] = control_ready_at_;
  table[Timer::loss] = recovery_.loss_deadline();
  table[Timer::probe] = recovery_.probe_deadline();
  table[Timer::key_discard] = open_keys_.discard_at();
  table[Timer::size_probe] = size_search_.deadline();
  if (recovery_.can_send() && !seal_keys_.exhausted()) table[Timer::challenge] = address_.deadline();
  return table;
}

void LaneCore::handle_timeout(TimePoint now, DeliveryNews& news) {
  TimerTable table = timers();
  if (table.take_if_due(Timer::key_discard, now)) open_keys_.discard_if_due(now);
  if (table.take_if_due(Timer::close_repeat, now)) goodbye_.on_repeat_due();
  if (table.take_if_due(Timer::loss, now)) {
    recovery_.on_loss_deadline(now, news);
    for (const auto& range : news.control_lost) control_out_.on_lost(range);
    news.control_lost.clear();
  }
  if (table.take_if_due(Timer::challenge, now))
    address_.on_deadline(now, challenge_size, recovery_.rtt().probe_timeout());
  if (table.take_if_due(Timer::size_probe, now)) size_search_.on_deadline(now);
  if (table.take_if_due(Timer::probe, now)) {
    recovery_.on_probe_deadline(now);
    choose_probe();
  }
}

/// Bulk is probed with by who sends it.
void LaneCore::choose_probe() {
  if (!control_out_.resend_oldest() && !recovery_.oldest_data_in_flight()) ping_owed_ = true;
}

void LaneCore::take_path_news(TimePoint now, const DeliveryNews& news) {
  const std::size_t before = size_search_.assumed();
  for (const auto& probe : news.probes_acked) size_search_.on_probe_acked(now, probe.number, probe.size);
  for (const auto& probe : news.probes_lost) size_search_.on_probe_lost(now, probe.number);
  (void)size_search_.on_tidings(news.sizes, recovery_.next_number());
  if (size_search_.assumed() != before) recovery_.on_datagram_size(size_search_.assumed());
}

// --- out ------------------------------------------------------------------------------------------------------------

std::optional<Transmit> LaneCore::poll_frames(TimePoint now, std::span<std::byte> buffer, AckFields fields,
                                              const HeldData& held) {
  acks_.begin();
  if (buffer.size() < datagram_size_) return std::nullopt;
  if (state_ == State::closing) return seal_close(now, buffer);
  if (state_ != State::open || !recovery_.can_send()) return std::nullopt;
  const bool probe = recovery_.probes_owed() > 0;
  // An epoch that is used up and unconfirmed lets probes out, whose ACK then confirms it.
  if (seal_keys_.exhausted() && !probe && !ping_owed_) return std::nullopt;
  const bool ack = ack_due(now);
  const bool oldest = oldest_needed_due(now, 1);
  const bool control = control_due(now, probe);
  // The peer asks for an acknowledgement of ours once a round trip, and that one carries the word along: a datagram of
  // its own is only for when it does not ask.
  const bool oldest_alone = sends_bulk_ && oldest_needed_due(now, 4);
  if (!ack && !control && !ping_owed_ && !oldest_alone && !response_owed_ && !confirmation_owed_) return std::nullopt;

  bytes::WireWriter out(
      std::span<std::byte>(scratch_).first(datagram_size_ - frames_header_size - crypto::aead_tag_size));
  SentPacket sent{.sent_at = now};
  if (response_owed_) encode_path_data(out, FrameType::path_response, *std::exchange(response_owed_, std::nullopt));
  if (confirmation_owed_) encode_key_update(out, *std::exchange(confirmation_owed_, std::nullopt));
  if (oldest) {
    oldest_told_at_ = now;
    oldest_told_for_ = recovery_.largest_acked();
    encode_oldest_needed(out, recovery_.oldest_needed());
  }
  if (control) {
    // Control first: an ACK takes what room is left, and goes on in another datagram if need be.
    const std::size_t reserved =
        control_frame_overhead + ecn_counts_frame_size + ack_frame_size_min + 2 * frame_header_size;
    if (const auto chunk = control_out_.next(out.remaining() - reserved)) {
      encode_control(out, {chunk->offset, chunk->data});
      sent = {.sent_at = now,
              .offset = chunk->offset,
              .length = static_cast<std::uint16_t>(chunk->data.size()),
              .kind = SentKind::control};
      control_out_.on_sent(*chunk);
    }
  } else if (ping_owed_ || ping_with_ack_ || seal_keys_.wants_confirmation()) {
    encode_ping(out);
    sent.kind = SentKind::ping;
  }
  if (ack || ((control || ping_owed_) && acks_.tracker().has_news()))
    acks_.write(now, recovery_.rtt().smoothed(), out, fields, held);
  if (sent.kind != SentKind::none) {
    ping_owed_ = false;
    ping_with_ack_ = false;
    recovery_.on_probe_sent();
  }
  PENSTOCK_CHECK(out.ok());
  return seal_frames(now, out.written(), sent, buffer);
}

std::optional<Transmit> LaneCore::poll_challenge(TimePoint now, std::span<std::byte> buffer) {
  if (state_ != State::open || !recovery_.can_send() || seal_keys_.exhausted()) return std::nullopt;
  const auto challenge = address_.challenge_due(now, challenge_size);
  if (!challenge || buffer.size() < challenge_size) return std::nullopt;
  std::array<std::byte, path_frame_size> frame;
  bytes::WireWriter out(frame);
  encode_path_data(out, FrameType::path_challenge, *challenge);
  address_.on_challenge_sent(now, challenge_size, recovery_.rtt().probe_timeout());
  Transmit sent = seal_frames(now, out.written(), SentPacket{.sent_at = now}, buffer);
  sent.to_proposed = true;
  return sent;
}

std::optional<Transmit> LaneCore::poll_size_probe(TimePoint now, std::span<std::byte> buffer) {
  if (state_ != State::open || !recovery_.can_send_bulk() || seal_keys_.exhausted()) return std::nullopt;
  const auto size = size_search_.probe_due(now);
  if (!size || buffer.size() < *size) return std::nullopt;
  bytes::WireWriter out(std::span<std::byte>(scratch_).first(*size - frames_header_size - crypto::aead_tag_size));
  encode_ping(out);
  encode_padding(out, out.remaining());
  const Transmit probe =
      seal_frames(now, out.written(), SentPacket{.sent_at = now, .kind = SentKind::path_probe}, buffer);
  size_search_.on_probe_sent(now, {recovery_.next_number().value - 1},
                             size_probe_timeouts * recovery_.rtt().probe_timeout());
  return probe;
}

std::optional<Transmit> LaneCore::seal_close(TimePoint now, std::span<std::byte> buffer) {
  if (!goodbye_.is_owed() || !recovery_.can_send()) return std::nullopt;
  goodbye_.on_said(now, recovery_.rtt().probe_timeout());
  bytes::WireWriter out(scratch_);
  encode_close(out, close_reason_);
  return seal_frames(now, out.written(), SentPacket{.sent_at = now}, buffer);
}

/// Control obeys window and pace like bulk, but goes before it.
bool LaneCore::control_due(TimePoint now, bool probe) {
  control_ready_at_.reset();
  if (!control_out_.has_something()) return false;
  if (probe) return true;
  if (recovery_.allowance() < datagram_size_) return false;
  if (recovery_.pacer().available(now) >= recovery_.pacer().packet_bytes()) return true;
  control_ready_at_ = recovery_.pacer().ready_at(now);
  return false;
}

bool LaneCore::oldest_needed_due(TimePoint now, int half_rounds) const {
  if (recovery_.largest_acked() == oldest_told_for_) return false;  // nothing was acknowledged since
  return !oldest_told_at_ ||
         now - *oldest_told_at_ >= half_rounds * std::max(recovery_.rtt().smoothed(), oldest_needed_interval_min) / 2;
}

bool LaneCore::queue_control(std::span<const std::byte> message) { return !is_over() && control_out_.queue(message); }

std::optional<LaneCore::Event> LaneCore::poll_event() {
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

LaneStats& LaneCore::stats() {
  stats_.packets_lost = recovery_.packets_lost();
  stats_.spurious_losses = recovery_.spurious_losses();
  stats_.pto_count = recovery_.probe_timeouts();
  stats_.answered_at = recovery_.answered_at();
  stats_.unanswered_since = recovery_.unanswered_since();
  stats_.data_answered_at = recovery_.data_answered_at();
  stats_.data_unanswered_since = recovery_.data_unanswered_since();
  stats_.datagram_size = size_search_.size();
  stats_.datagram_size_settled = size_search_.settled();
  stats_.size_probes_lost = size_search_.probes_lost();
  stats_.black_holes = size_search_.black_holes();
  stats_.ecn = recovery_.ecn().state();
  stats_.ecn_fault = recovery_.ecn().fault();
  stats_.packets_marked = recovery_.ecn().packets_marked();
  stats_.marks_told = recovery_.ecn().counts();
  stats_.marks_received = acks_.marks();
  stats_.key_updates = seal_keys_.epoch().value;
  stats_.rtt_smoothed = recovery_.rtt().smoothed();
  stats_.rtt_min = recovery_.rtt().minimum();
  stats_.cwnd = recovery_.cwnd();
  stats_.bytes_in_flight = recovery_.bytes_in_flight();
  stats_.pacing_rate = recovery_.pacer().rate();
  stats_.paced_by_cap = recovery_.is_paced_by_cap();
  return stats_;
}

}  // namespace penstock::engine
