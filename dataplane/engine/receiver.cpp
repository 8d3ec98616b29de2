#include "dataplane/engine/receiver.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>
#include <vector>

#include "common/bytes/prefetch.h"
#include "common/check.h"
#include "dataplane/engine/fec/held_report.h"
#include "dataplane/engine/fec/repair_decoder.h"
#include "dataplane/engine/lane/lane_core.h"
#include "dataplane/engine/ranges/received_ranges.h"
#include "dataplane/engine/stream/stream_receipts.h"

namespace penstock::engine {
namespace {

// The receiver asks for an ACK of its own once a round trip, for the RTT and to confirm its key epochs.
constexpr Duration rtt_sample_interval_min = std::chrono::milliseconds{4};
// A client that still expects data and hears nothing for so long says something: a NAT may have forgotten it, or its
// address be another one, and who sends would never find out. However long the round trip: one small datagram in this
// time is nothing to any path, but three PTO of a client whose round trips vary, by its slow processor perhaps, are
// seconds, after which the other end takes the path for dead.
constexpr Duration silence_max = std::chrono::milliseconds{500};
// So little may be all that is still to come of a flight: it is taken in at once.
constexpr std::uint64_t tail_bytes = 128 * KiB;

LaneCoreConfig core_config(const ReceiverConfig& config) {
  return {.recovery = {.datagram_size = std::clamp(config.udp_payload_size, udp_payload_min, udp_payload_limit),
                       .ip_overhead = config.ip_overhead,
                       .initial_rtt = config.initial_rtt,
                       .congestion = Congestion::cubic,
                       .rate = std::nullopt},
          .key_update_packets = config.key_update_packets,
          .sends_bulk = false};
}

constexpr bool within_one_slab(TransferRange range) {
  return range.begin.value / slab_size == (range.end.value - 1) / slab_size;
}

constexpr std::uint32_t saturated(std::uint64_t total) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(total, std::numeric_limits<std::uint32_t>::max()));
}

/// Memory lent for a run of datagrams: one call of the window opens many, and one commits them.
class Lease {
 public:
  explicit Lease(SinkWindow& window) : window_(window) {}
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { settle(); }

  /// Where `range` may be opened; empty when the window lends nothing. `wanted` begins with `range`, and no byte of it
  /// was accepted.
  std::span<std::byte> memory_for(TransferRange range, TransferRange wanted) {
    if (range.begin < lent_.begin || range.end > lent_.end) {
      settle();
      lent_ = wanted;
      memory_ = window_.lend(wanted.begin, static_cast<std::size_t>(wanted.size()));
      if (memory_.empty() && wanted != range) {  // the run may reach beyond what the window knows
        lent_ = range;
        memory_ = window_.lend(range.begin, static_cast<std::size_t>(range.size()));
      }
      if (memory_.empty()) lent_ = {};
    }
    if (memory_.empty()) return {};
    const auto from = memory_.subspan(static_cast<std::size_t>(range.begin - lent_.begin));
    const auto own = from.first(static_cast<std::size_t>(range.size()));
    // The core that wrote the slab's last contents to the file still holds its lines: the next datagram's are fetched
    // while this one is opened.
    const auto behind = from.subspan(own.size());
    bytes::prefetch_for_writing(behind.first(std::min(behind.size(), own.size())));
    return own;
  }
  /// The range was opened into the lent memory, and accepted.
  void commit(TransferRange range) {
    if (!opened_.empty() && opened_.end == range.begin) {
      opened_.end = range.end;
      return;
    }
    hand_over();
    opened_ = range;
  }
  /// Gives the memory back, so that the window may be called otherwise.
  void settle() {
    hand_over();
    lent_ = {};
    memory_ = {};
  }

 private:
  void hand_over() {
    if (opened_.empty()) return;
    window_.commit(opened_.begin, static_cast<std::size_t>(opened_.size()));
    opened_ = {};
    lent_ = {};  // views die at the next call
    memory_ = {};
  }

  SinkWindow& window_;
  TransferRange lent_;
  TransferRange opened_;
  std::span<std::byte> memory_;
};

}  // namespace

struct Receiver::Parts {
  Parts(const ReceiverConfig& settings, LaneKeys keys, Rng& rng)
      : config(settings),
        lane(core_config(settings), std::move(keys), rng.split()),
        ranges(settings.initial_credit, settings.place),
        decoder(settings.place.lanes) {}

  ReceiverConfig config;
  LaneCore lane;
  ReceivedRanges ranges;
  DeliveryNews news;
  std::vector<std::byte> scratch;  // payload that has no place yet
  std::uint64_t socket_drops = 0;
  std::optional<std::uint64_t> window_limit;
  std::uint64_t room_max = 0;  // seen so far: the scale of the queue fill
  bool room_grew = false;
  RepairDecoder decoder;
  HeldReport report;
  std::optional<RepairRatio> repair;  // agreed on
  std::uint64_t retained = 0;         // told to the window
  bool announced = true;              // Drained told of the present state
  std::optional<TimePoint> rtt_asked_at;
  std::optional<TimePoint> spoke_up_at;
  bool finished = false;  // no more is to be expected
  StreamReceipts stream;
  std::optional<TransferOffset> stream_limit;  // that the sender was told of beside credit; nullopt: no stream as yet

  void handle_data(TimePoint now, const LaneCore::Admitted& packet, std::size_t bytes_behind, Lease& lease,
                   SinkWindow& window, BatchOutcome& outcome);
  /// The parts of `range` that are not here, of `bytes`.
  [[nodiscard]] bool store_missing(TransferRange range, std::span<const std::byte> bytes, SinkWindow& window);
  void handle_repair(TimePoint now, std::span<const std::byte> body, Lease& lease, SinkWindow& window);
  void take_recovered(TimePoint now, std::span<const RepairDecoder::Recovered> recovered, SinkWindow& window);
  void retain_for_repair(SinkWindow& window);
  void on_accepted(TimePoint now);
  [[nodiscard]] std::optional<TimePoint> silence_at() const;
  /// What credit may count on, of the room that the sink has.
  [[nodiscard]] std::uint64_t within_limit(std::uint64_t room) const {
    return window_limit ? std::min(room, *window_limit) : room;
  }
  [[nodiscard]] AckFields ack_fields(std::uint64_t room);
};

Receiver::Receiver(const ReceiverConfig& config, LaneKeys keys, Rng rng)
    : parts_(std::make_unique<Parts>(config, std::move(keys), rng)) {}
Receiver::~Receiver() = default;
Receiver::Receiver(Receiver&&) noexcept = default;
Receiver& Receiver::operator=(Receiver&&) noexcept = default;

void Receiver::open_path(TimePoint now) {
  Parts& p = *parts_;
  p.lane.open_path(now);
  if (p.config.hello_until_heard && !p.lane.heard()) p.lane.ask_for_ack();  // repeated by PTO until it is answered
}

BatchOutcome Receiver::handle_datagrams(TimePoint now, std::span<std::byte> batch, std::size_t segment_size,
                                        SinkWindow& window, EcnMark mark) {
  BatchOutcome outcome;
  Parts& p = *parts_;
  Lease lease(window);
  while (!batch.empty()) {
    const auto datagram = batch.first(segment_size == 0 ? batch.size() : std::min(segment_size, batch.size()));
    batch = batch.subspan(datagram.size());
    const auto packet = p.lane.admit(datagram, mark);
    if (!packet) continue;
    if (packet->header.type == PacketType::data)
      p.handle_data(now, *packet, batch.size(), lease, window, outcome);
    else
      p.lane.handle_frames(now, *packet, outcome, p.news);
    for (const auto& body : p.news.repair_frames) p.handle_repair(now, body, lease, window);
    p.news.repair_frames.clear();
  }
  if (p.decoder.waits()) {
    lease.settle();
    for (auto done = p.decoder.poll(p.ranges, window); !done.empty(); done = p.decoder.poll(p.ranges, window))
      p.take_recovered(now, done, window);
  }
  if (p.repair) {
    lease.settle();
    p.decoder.rest();
    p.retain_for_repair(window);
  }
  p.news.clear();  // a receiver has no data of its own on the way
  return outcome;
}

void Receiver::Parts::handle_data(TimePoint now, const LaneCore::Admitted& packet, std::size_t bytes_behind,
                                  Lease& lease, SinkWindow& window, BatchOutcome& outcome) {
  const std::size_t length = packet.sealed.size() - crypto::aead_tag_size;
  const TransferRange range{packet.header.offset, packet.header.offset + length};
  // Nothing here is authentic yet: an open slab of which nothing was accepted is all that a forged header can touch.
  const bool wholly_new =
      !lane.is_over() && within_one_slab(range) && ranges.owns(range) && ranges.is_wholly_new(range);
  std::span<std::byte> target;
  if (wholly_new) {
    const std::uint64_t slab_end = (range.begin.value / slab_size + 1) * slab_size;
    const std::uint64_t run_end =
        std::min({slab_end, range.end.value + bytes_behind, std::max(ranges.expected().value, range.end.value)});
    target = lease.memory_for(range, ranges.first_missing({range.begin, {run_end}}));
  }
  const bool direct = !target.empty();
  if (!direct) {
    if (scratch.size() < length) scratch.resize(udp_payload_limit);
    target = std::span(scratch).first(length);
  }
  if (!lane.open(now, packet, target.data())) return;
  if (lane.is_over()) return lane.accept(now, packet, true, outcome);

  if (!within_one_slab(range)) return lane.close(TransportError::protocol_violation);
  if (!ranges.is_permitted(range)) return lane.close(TransportError::credit_exceeded);
  LaneStats& stats = lane.stats();
  if (!ranges.owns(range)) {
    // No byte is ever two lanes' business: as if it had never come, whatever the sender thinks.
    ++stats.packets_outside_lease;
    return;
  }
  const std::uint64_t first_time_before = stats.payload_bytes_received;
  if (direct) {
    if (!ranges.accept(range)) {
      ++stats.packets_refused_by_sink;
      return;
    }
    lease.commit(range);
    stats.payload_bytes_received += length;
  } else if (lease.settle(); !store_missing(range, target, window)) {
    ++stats.packets_refused_by_sink;
    return;
  }
  stats.payload_bytes_duplicate += length - (stats.payload_bytes_received - first_time_before);
  lane.accept(now, packet, true, outcome);
  if (decoder.waits() && stats.payload_bytes_received > first_time_before) decoder.on_data(range);
  on_accepted(now);
}

void Receiver::Parts::handle_repair(TimePoint now, std::span<const std::byte> body, Lease& lease, SinkWindow& window) {
  if (!repair || lane.is_over()) return;  // nothing that we agreed to
  const auto frame = decode_repair(body);
  if (!frame) return lane.close(TransportError::protocol_violation);
  // As with DATA: of bytes that are not this lane's it says nothing, whatever the sender thinks.
  if (!ranges.owns_in_one_extent({frame->layout.base, frame->layout.end()})) {
    ++lane.stats().packets_outside_lease;
    return;
  }
  // It speaks of bytes that were sent, so all of them are within the credit.
  if (!ranges.is_permitted(frame->layout.bytes_of(frame->layout.mask.last())))
    return lane.close(TransportError::credit_exceeded);
  ++lane.stats().repairs_received;
  lease.settle();
  take_recovered(now, decoder.on_repair(*frame, ranges, window), window);
}

/// Recovered bytes are like arrived ones, but for their packets' numbers.
void Receiver::Parts::take_recovered(TimePoint now, std::span<const RepairDecoder::Recovered> recovered,
                                     SinkWindow& window) {
  for (const auto& [range, bytes] : recovered) {
    if (!ranges.is_permitted(range)) return lane.close(TransportError::credit_exceeded);
    if (!ranges.owns(range) || !store_missing(range, bytes, window)) continue;  // it will be sent again
    ++lane.stats().symbols_recovered;
    report.on_recovered(range.begin);
    decoder.on_data(range);
  }
  if (!recovered.empty()) on_accepted(now);
}

void Receiver::Parts::retain_for_repair(SinkWindow& window) {
  const std::uint64_t wanted = repair->repairs > 0 && !ranges.is_complete() ? repair->window : 0;
  if (wanted == retained) return;
  retained = wanted;
  window.retain(wanted);
}

bool Receiver::Parts::store_missing(TransferRange range, std::span<const std::byte> bytes, SinkWindow& window) {
  ranges.on_duplicate(range);
  TransferRange rest = range;
  while (true) {
    const TransferRange part = ranges.first_missing(rest);
    if (part.empty()) return true;
    const auto own =
        bytes.subspan(static_cast<std::size_t>(part.begin - range.begin), static_cast<std::size_t>(part.size()));
    if (!window.store(part.begin, own)) return false;
    if (!ranges.accept(part)) return false;
    lane.stats().payload_bytes_received += part.size();
    rest.begin = part.end;
  }
}

// --- the stream -----------------------------------------------------------------------------------------------------

void Receiver::handle_stream(TimePoint now, TransferOffset at, std::span<const std::byte> payload, SinkWindow& window) {
  Parts& p = *parts_;
  if (p.lane.is_over()) return;
  if (payload.empty() || payload.size() > stream_payload_max || at.value > transfer_space_max - payload.size())
    return p.lane.close(TransportError::protocol_violation);
  const TransferRange range{at, at + payload.size()};
  if (!within_one_slab(range)) return p.lane.close(TransportError::protocol_violation);
  if (!p.stream_limit) p.stream_limit = TransferOffset{};
  if (!p.ranges.is_permitted(range)) return p.lane.close(TransportError::credit_exceeded);
  LaneStats& stats = p.lane.stats();
  if (!p.ranges.owns(range)) {
    ++stats.packets_outside_lease;
    return p.stream.on_refused(now);
  }
  const std::uint64_t first_time_before = stats.payload_bytes_received;
  const bool stored = p.store_missing(range, payload, window);
  const std::uint64_t taken = stats.payload_bytes_received - first_time_before;
  ++stats.stream_messages;
  stats.stream_bytes += taken;
  if (!stored) {
    ++stats.packets_refused_by_sink;
    return p.stream.on_refused(now);
  }
  stats.payload_bytes_duplicate += payload.size() - taken;
  p.stream.on_taken(now, payload.size());
  if (!p.announced && p.ranges.is_complete()) p.stream.owe(now);
}

std::optional<StreamAck> Receiver::poll_stream_ack(TimePoint now, const SinkWindow& window) {
  Parts& p = *parts_;
  if (p.lane.is_over() || !p.stream_limit) return std::nullopt;
  const CreditFrame credit = p.ranges.credit(p.within_limit(window.room()));
  // As in poll_transmit: new room is worth a word of its own when the sender might run dry. And so is a longer
  // manifest, since a lane whose bytes begin behind the old end has nothing else to do; nobody would ask.
  const std::uint64_t left = p.ranges.granted() - p.ranges.first_time_received();
  const std::uint64_t gained = credit.credit - p.ranges.granted();
  if ((gained > 0 && gained >= left / 2) || credit.offset_limit > *p.stream_limit) p.stream.owe(now);
  if (!p.stream.due_at() || *p.stream.due_at() > now) return std::nullopt;
  p.ranges.on_credit_granted(credit);
  p.stream_limit = credit.offset_limit;
  return p.stream.take(credit);
}

Receiver::Holding Receiver::holding(const SinkWindow& window, std::size_t ranges_max) {
  Parts& p = *parts_;
  Holding holding{.held = p.ranges.arrived(ranges_max), .credit = p.ranges.credit(p.within_limit(window.room()))};
  p.ranges.on_credit_granted(holding.credit);
  p.stream_limit = holding.credit.offset_limit;
  return holding;
}

void Receiver::set_probing(bool probing) { parts_->lane.recovery().set_probing(probing); }
void Receiver::ping() { parts_->lane.ask_for_ack(); }

void Receiver::Parts::on_accepted(TimePoint now) {
  if (!announced && ranges.is_complete()) lane.ack_tracker().on_tail(now);
  if (!rtt_asked_at || now - *rtt_asked_at >= std::max(lane.recovery().rtt().smoothed(), rtt_sample_interval_min)) {
    rtt_asked_at = now;
    lane.ask_for_ack_with_next_ack();
  }
}

/// When it is time to speak up unasked.
std::optional<TimePoint> Receiver::Parts::silence_at() const {
  if (!config.hello_until_heard || !lane.is_open() || !lane.heard() || (finished && ranges.is_complete()))
    return std::nullopt;
  return std::max(*lane.last_heard(), spoke_up_at.value_or(TimePoint{})) + silence_max;
}

void Receiver::handle_timeout(TimePoint now) {
  Parts& p = *parts_;
  if (const auto silence = p.silence_at(); silence && *silence <= now) {
    p.spoke_up_at = now;
    p.lane.ask_for_ack();
  }
  p.lane.handle_timeout(now, p.news);
  p.news.clear();
}

std::optional<Transmit> Receiver::poll_transmit(TimePoint now, const SinkWindow& window, std::span<std::byte> buffer) {
  Parts& p = *parts_;
  if (auto out = p.lane.poll_challenge(now, buffer)) return out;
  const std::uint64_t room = window.room();
  const AckFields fields = p.ack_fields(room);
  if (p.room_grew) {
    p.room_grew = false;
    // Worth a word of its own only when the sender might run dry before the next ACK.
    const std::uint64_t left = p.ranges.granted() - p.ranges.first_time_received();
    const std::uint64_t gained = fields.credit.credit - p.ranges.granted();
    if (gained > 0 && gained >= left / 2) p.lane.ack_tracker().owe(now);
  }
  const HeldData held = p.report.recovered() > 0 && p.lane.owes_ack(now) ? p.report.next(p.ranges) : HeldData{};
  auto out = p.lane.poll_frames(now, buffer, fields, held);
  if (p.lane.told_credit()) p.ranges.on_credit_granted(fields.credit);
  if (p.lane.told_held()) p.report.on_told();
  return out;
}

AckFields Receiver::Parts::ack_fields(std::uint64_t room) {
  room_max = std::max({room_max, room, std::uint64_t{1}});
  __extension__ using Wide = unsigned __int128;
  return {.delay = {},
          .credit = ranges.credit(within_limit(room)),
          .socket_drops = saturated(socket_drops),
          .sink_refusals = saturated(lane.stats().packets_refused_by_sink),
          .queue_fill = static_cast<std::uint8_t>(255 - Wide{room} * 255 / room_max)};
}

std::optional<ReceiverEvent> Receiver::poll_event() {
  Parts& p = *parts_;
  if (auto event = p.lane.poll_event())
    return std::visit([](auto&& e) -> ReceiverEvent { return std::forward<decltype(e)>(e); }, std::move(*event));
  if (!p.announced && !p.lane.is_over() && p.ranges.is_complete()) {
    p.announced = true;
    return Drained{p.ranges.expected()};
  }
  return std::nullopt;
}

std::optional<TimePoint> Receiver::poll_timeout() const {
  TimerTable table = parts_->lane.timers();
  if (!parts_->lane.is_over()) table[Timer::stream] = parts_->stream.due_at();
  table[Timer::persist] = parts_->silence_at();
  return table.earliest();
}

bool Receiver::propose_address(TimePoint now, AddressChange change, std::uint64_t bytes) {
  return parts_->lane.propose_address(now, change, bytes);
}
void Receiver::on_bytes_from_proposed(std::uint64_t bytes) { parts_->lane.on_bytes_from_proposed(bytes); }
bool Receiver::asks_proposed() const { return parts_->lane.asks_proposed(); }

Duration Receiver::patience() const {
  const Parts& p = *parts_;
  if (!p.lane.is_open() || p.ranges.is_nearly_complete(tail_bytes)) return {};
  return ack_interval(p.lane.recovery().rtt().smoothed()) / ack_interval_share;
}

void Receiver::expect(TransferOffset end) {
  if (end == parts_->ranges.expected()) return;
  parts_->ranges.expect(end);
  parts_->announced = false;
  parts_->room_grew = true;
}

void Receiver::finish(TransferOffset end) {
  PENSTOCK_CHECK(end == parts_->ranges.expected());
  parts_->announced = false;
  parts_->finished = true;
}

void Receiver::withhold(TransferRange range) { parts_->ranges.withhold(range); }

void Receiver::forget(TransferRange range) {
  parts_->ranges.forget(range);
  parts_->decoder.forget(range);  // what was wrong must not be computed anew out of its own repair symbols
  parts_->announced = false;
}

std::optional<ExtentState> Receiver::give_up(const ExtentMove& move) {
  auto state = parts_->ranges.give_up(move);
  if (!state) return state;
  parts_->announced = false;
  const ExtentMap map(parts_->config.place.lanes);
  const auto bytes = move.extent ? map.bytes_of(*move.extent) : bytes::Interval{0, transfer_space_max};
  parts_->decoder.forget({{bytes.begin}, {bytes.end}});
  return state;
}

bool Receiver::adopt(const ExtentMove& move, const ExtentState& state) {
  if (!parts_->ranges.adopt(move, state)) return false;
  parts_->announced = false;
  parts_->room_grew = true;
  return true;
}

void Receiver::note(const ExtentMove& move) { parts_->ranges.note(move); }

void Receiver::on_repair_agreed(const RepairRatio& ratio) { parts_->repair = ratio; }

void Receiver::on_sink_room(TimePoint) { parts_->room_grew = true; }
void Receiver::limit_window(std::optional<std::uint64_t> bytes) { parts_->window_limit = bytes; }
Duration Receiver::path_rtt() const {
  const Recovery& recovery = parts_->lane.recovery();
  return std::min(recovery.rtt().minimum(), recovery.initial_rtt());
}
void Receiver::on_socket_drops(std::uint64_t total) { parts_->socket_drops = total; }

bool Receiver::queue_control(std::span<const std::byte> message) { return parts_->lane.queue_control(message); }

void Receiver::close(TransportError reason) { parts_->lane.close(reason); }

const LaneStats& Receiver::stats() const {
  LaneStats& stats = parts_->lane.stats();
  stats.bytes_settled = parts_->ranges.settled();
  stats.generations_failed = parts_->decoder.undecodable() + parts_->decoder.crowded_out();
  return stats;
}

}  // namespace penstock::engine
