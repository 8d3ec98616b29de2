#include "dataplane/engine/sender.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "common/bytes/prefetch.h"
#include "common/check.h"
#include "dataplane/engine/sender_parts.h"

namespace penstock::engine {
namespace {

/// Of a rate that all lanes have together.
std::optional<DataRate> share_of(const SenderConfig& config) {
  if (!config.rate) return std::nullopt;
  return DataRate::bits_per_second(std::max<std::uint64_t>(config.rate->bits_per_second() / config.place.lanes, 1));
}

LaneCoreConfig core_config(const SenderConfig& config) {
  return {.recovery = {.datagram_size = std::clamp(config.udp_payload_size, udp_payload_min, udp_payload_limit),
                       .ip_overhead = config.ip_overhead,
                       .initial_rtt = config.initial_rtt,
                       .congestion = config.congestion,
                       .rate = share_of(config),
                       .remembered_rate = config.place.lanes == 1 ? config.remembered_rate : std::nullopt,
                       .place = config.place,
                       .ecn = config.ecn},
          .datagram_size_max = config.udp_payload_max,
          .key_update_packets = config.key_update_packets,
          .sends_bulk = true};
}

/// Asks the window once for a run of datagrams rather than once for each.
class ResidentRun {
 public:
  explicit ResidentRun(SourceWindow& window) : window_(window) {}

  /// At most `length` bytes from `at` on; empty: not resident. `ahead` is how much may be wanted in all.
  std::span<const std::byte> take(TransferOffset at, std::size_t length, std::size_t ahead) {
    if (at < at_ || at - at_ + length > run_.size()) {
      const std::uint64_t slab_left = slab_size - at.value % slab_size;
      at_ = at;
      run_ =
          window_.resident(at, static_cast<std::size_t>(std::min<std::uint64_t>(std::max(length, ahead), slab_left)));
    }
    const auto from = run_.subspan(static_cast<std::size_t>(at - at_));
    const auto own = from.first(std::min(from.size(), length));
    // Another core read the slab from the file: the next datagram's lines are fetched while this one is sealed.
    const auto behind = from.subspan(own.size());
    bytes::prefetch_for_reading(behind.first(std::min(behind.size(), own.size())));
    return own;
  }

 private:
  SourceWindow& window_;
  TransferOffset at_;
  std::span<const std::byte> run_;
};

}  // namespace

SenderLimit limit_of(RangeScheduler::Blocked blocked) {
  switch (blocked) {
    case RangeScheduler::Blocked::nothing_to_send:
      return SenderLimit::nothing_to_send;
    case RangeScheduler::Blocked::source:
      return SenderLimit::source;
    case RangeScheduler::Blocked::receiver_credit:
      return SenderLimit::receiver_credit;
  }
  return SenderLimit::nothing_to_send;
}

Sender::Parts::Parts(const SenderConfig& settings, LaneKeys keys, Rng& rng)
    : ip_overhead(settings.ip_overhead),
      lane(core_config(settings), std::move(keys), rng.split()),
      scheduler(settings.order, settings.initial_credit, rng.split(), settings.place),
      fec(settings.fec),
      book(fec),
      calm(settings.place.lanes > 1) {
  if (const auto rate = share_of(settings)) {
    stream_pacer.emplace(settings.udp_payload_size + settings.ip_overhead);
    stream_pacer->set_rate(TimePoint{}, *rate);
  }
}

Sender::Sender(const SenderConfig& config, LaneKeys keys, Rng rng)
    : parts_(std::make_unique<Parts>(config, std::move(keys), rng)) {}
Sender::~Sender() = default;
Sender::Sender(Sender&&) noexcept = default;
Sender& Sender::operator=(Sender&&) noexcept = default;

void Sender::open_path(TimePoint now) { parts_->lane.open_path(now); }

BatchOutcome Sender::handle_datagrams(TimePoint now, std::span<std::byte> batch, std::size_t segment_size,
                                      EcnMark mark) {
  BatchOutcome outcome;
  Parts& p = *parts_;
  while (!batch.empty()) {
    const auto datagram = batch.first(segment_size == 0 ? batch.size() : std::min(segment_size, batch.size()));
    batch = batch.subspan(datagram.size());
    const auto packet = p.lane.admit(datagram, mark);
    if (!packet) continue;
    if (packet->header.type != PacketType::frames) {  // nobody sends DATA to a sender; not worth an open
      ++p.lane.stats().packets_malformed;
      continue;
    }
    p.lane.handle_frames(now, *packet, outcome, p.news);
  }
  p.take_news(now);
  return outcome;
}

void Sender::handle_timeout(TimePoint now) {
  Parts& p = *parts_;
  p.lane.handle_timeout(now, p.news);
  p.take_news(now);
  if (p.stream_at && *p.stream_at <= now) p.stream_at.reset();  // the driver asks again
  if (p.persist_at && *p.persist_at <= now) {
    p.persist_at.reset();
    p.persist_backoff = std::min(p.persist_backoff + 1, 16U);
    p.lane.ask_for_ack();
  }
}

void Sender::Parts::take_news(TimePoint now) {
  lane.take_path_news(now, news);
  for (const auto& range : news.data_acked) {
    scheduler.on_acked(range);
    book.on_acked(range);
  }
  for (auto range : news.data_held) {
    // Around what was recovered may lie what the peer has from elsewhere, and we have not sent.
    range.end = std::min(range.end, scheduler.sent_until());
    if (range.begin < range.end) range = scheduler.own_part(range);
    if (range.begin >= range.end || fec.mode == FecMode::off) continue;
    scheduler.on_acked(range);
    book.on_acked(range);
  }
  repeats.clear();
  // By the stream, all that was in flight is with the scheduler already.
  if (!by_stream)
    for (const auto& range : news.data_lost) book.on_lost(range, repeats);
  for (const std::uint64_t generation : news.repairs_acked) book.on_repair_acked(generation);
  for (const std::uint64_t generation : news.repairs_lost) book.on_repair_lost(generation);
  const RttEstimator& rtt = lane.recovery().rtt();
  book.review(now, scheduler, rtt.smoothed(), rtt.probe_timeout(), repeats);
  for (const auto& range : repeats) scheduler.on_lost(range);
  scheduler.on_credit(lane.peer_credit());
  note_tail(now);
  if (fec.mode != FecMode::off) {
    // Neither what the receiver could not take is the path's own loss, nor what a full queue dropped.
    if (news.packets_acked > 0) calm.on_news(now, rtt);
    const bool calm_now = calm.tells_of_path(news.packets_lost > 0 ? news.newest_lost_sent_at : now);
    if (calm_now && !lane.recovery().receiver_drops_recent(now)) {
      loss.on_acked(news.packets_acked);
      loss.on_lost(news.packets_lost);
      loss.on_spurious(news.packets_spurious);
    }
    propose_ratio(now);
  }
  news.clear();
}

void Sender::Parts::note_tail(TimePoint now) {
  LaneStats& stats = lane.stats();
  if (stats.last_new_sent_at && !stats.all_acked_at && scheduler.is_drained()) stats.all_acked_at = now;
}

std::optional<Transmit> Sender::poll_transmit(TimePoint now, SourceWindow& window, std::span<std::byte> buffer) {
  Parts& p = *parts_;
  p.pacing_at.reset();
  if (buffer.size() < p.lane.datagram_size()) return std::nullopt;
  if (auto out = p.lane.poll_challenge(now, buffer)) return out;
  if (auto out = p.lane.poll_frames(now, buffer, AckFields{})) return out;
  if (p.by_stream) return std::nullopt;
  if (auto out = p.lane.poll_size_probe(now, buffer)) return out;
  if (auto out = p.poll_probe(now, window, buffer)) return out;
  if (auto out = p.poll_data(now, window, buffer)) return out;
  if (p.limit != SenderLimit::nothing_to_send || p.book.is_active()) return std::nullopt;  // repair takes their place
  return p.poll_tail_copies(now, window, buffer);
}

std::optional<Transmit> Sender::Parts::poll_probe(TimePoint now, SourceWindow& window, std::span<std::byte> buffer) {
  Recovery& recovery = lane.recovery();
  if (!lane.is_open() || recovery.probes_owed() == 0 || !recovery.can_send()) return std::nullopt;
  // The oldest bytes fill the hole that others wait for; the newest make the receiver report all below.
  const auto range = recovery.probes_owed() > 1 ? recovery.oldest_data_in_flight() : recovery.newest_data_in_flight();
  // Silence again: perhaps it is large datagrams that do not come through any more.
  const std::size_t size_max = recovery.probe_backoff() > 1 ? lane.datagram_size() : lane.data_size();
  recovery.on_probe_sent();
  if (!range) return std::nullopt;
  const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(range->size(), size_max - data_overhead));
  const auto payload = window.resident(range->begin, length);
  if (payload.empty()) {
    prefetches.push_back({*range});
    lane.ask_for_ack();
    return lane.poll_frames(now, buffer, AckFields{});
  }
  const auto sent = payload.first(std::min(payload.size(), length));
  const std::size_t size = data_overhead + sent.size();
  const Transmit out{size, size};
  lane.seal_data(now, range->begin, sent, buffer, 1, out.mark);
  lane.on_data_batch(now, 1, out);
  lane.stats().payload_bytes_sent += sent.size();
  lane.stats().payload_bytes_retransmitted += sent.size();
  return out;
}

std::optional<Transmit> Sender::Parts::poll_data(TimePoint now, SourceWindow& window, std::span<std::byte> buffer) {
  const std::size_t payload_max = lane.data_size() - data_overhead;
  const std::size_t segments_max =
      std::min({batch_segments_max, udp_payload_limit / lane.data_size(), buffer.size() / lane.data_size()});
  const Pacer& pacer = lane.recovery().pacer();
  std::uint64_t allowance = lane.recovery().allowance();
  std::uint64_t paced = pacer.available(now);
  const bool cuts = book.cuts_data(scheduler.ahead(), lane.recovery().cwnd());
  scheduler.cut_on_grid(cuts ? std::optional{SymbolGrid{symbol_size_for(lane.data_size())}} : std::nullopt);
  book.protect_new(scheduler, lane.data_size(), lane.recovery().cwnd());
  // A trickle would cost a system call for each few packets: where the rate makes a batch in 250 us, we wait for one.
  const std::uint64_t allowance_min = std::min(pacer.worthwhile(), lane.recovery().cwnd() / 8);
  const bool worthwhile = allowance >= allowance_min && paced >= pacer.worthwhile();
  ResidentRun run(window);
  LaneStats& stats = lane.stats();
  Transmit out{.mark = lane.batch_mark(now)};
  std::size_t segments = 0;
  bool sent_new = false;
  bool backlogged = true;  // for all we know: more may leave as soon as the pacer lets it
  limit = SenderLimit::sender_cpu;
  while (segments < segments_max) {
    if (!lane.can_seal_data()) {
      limit = SenderLimit::cwnd;
      backlogged = false;
      break;
    }
    // A ratio that was given is due before newer bytes. By itself repair takes nothing but spare window.
    if (segments == 0 && fec.mode == FecMode::fixed &&
        fill_with_repair(now, window, buffer, {allowance, paced, segments_max}, out, segments))
      break;
    const auto chunk = scheduler.next(payload_max);
    if (!chunk) {
      if (segments > 0) break;  // what else may leave, the next call finds
      if (finished && scheduler.blocked_by() == RangeScheduler::Blocked::nothing_to_send) {
        if (!book.has_repair()) book.protect_rest(scheduler, lane.data_size(), lane.recovery().rtt().smoothed());
        if (fill_with_repair(now, window, buffer, {allowance, paced, segments_max}, out, segments)) break;
      }
      on_blocked(now);
      backlogged = false;
      break;
    }
    if (segments > 0 && chunk->length > out.segment_size - data_overhead) break;  // nor longer than the first
    const auto wanted = static_cast<std::size_t>(chunk->length);
    if (allowance < data_overhead + wanted || (!worthwhile && allowance < allowance_min)) {
      limit = lane.recovery().receiver_drops_recent(now) ? SenderLimit::receiver_cpu : SenderLimit::cwnd;
      backlogged = false;
      break;
    }
    if (paced < data_overhead + wanted + ip_overhead || !worthwhile) {
      limit = SenderLimit::pacing;
      pacing_at = pacer.ready_at(now);
      break;
    }
    const auto payload = run.take(chunk->at, wanted, (segments_max - segments) * payload_max);
    if (payload.empty()) {
      prefetches.push_back({scheduler.set_aside(*chunk)});
      continue;
    }
    const std::size_t size = data_overhead + payload.size();
    lane.seal_data(now, chunk->at, payload, buffer.subspan(out.size), chunk->repeat ? 1 : 0, out.mark);
    scheduler.on_sent(*chunk, payload.size());
    if (chunk->repeat) book.on_data_sent({chunk->at, chunk->at + payload.size()});
    sent_new = sent_new || !chunk->repeat;
    stats.payload_bytes_sent += payload.size();
    if (chunk->repeat) stats.payload_bytes_retransmitted += payload.size();
    allowance -= size;
    paced -= size + ip_overhead;
    out.size += size;
    if (segments++ == 0) out.segment_size = size;
    if (size < out.segment_size) break;  // only the last segment of a batch may be shorter
  }
  if (limit == SenderLimit::sender_cpu || (limit == SenderLimit::pacing && pacer.loses_rate(now)))
    limits.on_busy(now);
  else
    limits.on_blocked(now, limit, pacing_at);
  if (backlogged)
    lane.recovery().pacer().on_backlog(now);
  else
    lane.recovery().pacer().on_idle(now);
  if (segments == 0) return std::nullopt;
  if (sent_new) {
    stats.last_new_sent_at = now;
    stats.all_acked_at.reset();
  }
  persist_at.reset();
  persist_backoff = 0;
  lane.on_data_batch(now, segments, out);
  return out;
}

void Sender::Parts::on_blocked(TimePoint now) {
  limit = limit_of(scheduler.blocked_by());
  // With nothing in flight no time-out would notice that the word of new credit was lost.
  if (limit == SenderLimit::receiver_credit && !persist_at && !lane.recovery().probe_deadline())
    persist_at =
        now + std::min<Duration>(lane.recovery().probe_interval() * (1U << std::min(persist_backoff, 10U)),
                                 std::max<Duration>(lane.recovery().probe_interval(), std::chrono::seconds{1}));
  lane.recovery().on_app_limited();
}

std::optional<SenderEvent> Sender::poll_event() {
  Parts& p = *parts_;
  if (auto event = p.lane.poll_event())
    return std::visit([](auto&& e) -> SenderEvent { return std::forward<decltype(e)>(e); }, std::move(*event));
  if (!p.prefetches.empty()) {
    const Prefetch prefetch = p.prefetches.front();
    p.prefetches.pop_front();
    return prefetch;
  }
  if (auto news = p.lane.recovery().take_congestion_news()) return *news;
  if (p.proposal_due) {
    p.proposal_due = false;
    return RepairProposal{p.proposed};
  }
  if (!p.announced && !p.lane.is_over() && p.scheduler.is_drained()) {
    p.announced = true;
    return Drained{p.scheduler.offered()};
  }
  return std::nullopt;
}

std::optional<TimePoint> Sender::poll_timeout() const {
  const Parts& p = *parts_;
  TimerTable table = p.lane.timers();
  if (p.lane.is_open()) {
    if (!table[Timer::pacing]) table[Timer::pacing] = p.pacing_at;
    table[Timer::persist] = p.persist_at;
    table[Timer::repair] = p.book.deadline();
  }
  if (p.by_stream && !p.lane.is_over()) table[Timer::stream] = p.stream_at;
  return table.earliest();
}

bool Sender::propose_address(TimePoint now, AddressChange change, std::uint64_t bytes) {
  return parts_->lane.propose_address(now, change, bytes);
}
void Sender::on_bytes_from_proposed(std::uint64_t bytes) { parts_->lane.on_bytes_from_proposed(bytes); }
bool Sender::asks_proposed() const { return parts_->lane.asks_proposed(); }

Duration Sender::patience() const {
  const Parts& p = *parts_;
  switch (p.limit) {
    case SenderLimit::pacing:
    case SenderLimit::source:
    case SenderLimit::sender_cpu:
      return p.lane.is_open() ? ack_interval(p.lane.recovery().rtt().smoothed()) / ack_interval_share : Duration{};
    case SenderLimit::nothing_to_send:  // the last acknowledgements end the transfer
    case SenderLimit::cwnd:
    case SenderLimit::receiver_credit:
    case SenderLimit::receiver_cpu:
    case SenderLimit::stream:
      break;
  }
  return {};
}

void Sender::offer(TransferOffset end) {
  if (end == parts_->scheduler.offered()) return;
  parts_->scheduler.offer(end);
  parts_->announced = false;
  parts_->finished = false;
}

void Sender::finish(TransferOffset end) {
  PENSTOCK_CHECK(end == parts_->scheduler.offered());
  parts_->announced = false;
  parts_->finished = true;
}

void Sender::withhold(TransferRange range) { parts_->scheduler.withhold(range); }

void Sender::resend(TransferRange range) {
  // ACKs of copies already on their way would settle bytes that the far end has thrown away since.
  parts_->lane.distrust_held();
  parts_->book.forget(range);
  parts_->lane.recovery().disown_data(range, parts_->news);
  for (const auto& lost : parts_->news.data_lost) parts_->scheduler.on_lost(lost);
  parts_->news.clear();
  for (const auto& touched : parts_->stream.disown(range)) parts_->scheduler.on_lost(touched);
  parts_->scheduler.resend(range);
  parts_->announced = false;
}

std::optional<RangeScheduler::Yielded> Sender::yield(std::size_t to, TransferOffset below) {
  auto yielded = parts_->scheduler.yield(to, below);
  if (yielded) parts_->announced = false;
  return yielded;
}

ExtentState Sender::surrender() const { return parts_->scheduler.surrender(); }

void Sender::adopt(const ExtentMove& move, const ExtentState& state) {
  parts_->scheduler.adopt(move, state);
  parts_->announced = false;
}

void Sender::note(const ExtentMove& move) { parts_->scheduler.note(move); }

void Sender::on_sibling_congestion(TimePoint now, const CongestionNews& news) {
  parts_->lane.recovery().on_sibling_congestion(now, news);
}

void Sender::ping() { parts_->lane.ask_for_ack(); }

void Sender::on_repair_agreed(const RepairRatio& ratio) { parts_->book.on_ratio(ratio); }

void Sender::on_source_ready() {
  parts_->scheduler.on_source_ready();
  parts_->book.on_source_ready();
}

bool Sender::queue_control(std::span<const std::byte> message) { return parts_->lane.queue_control(message); }

void Sender::close(TransportError reason) { parts_->lane.close(reason); }

void Sender::on_send_blocked(TimePoint now) {
  parts_->limit = SenderLimit::pacing;
  parts_->limits.on_blocked(now, SenderLimit::pacing);
}

TransferOffset Sender::oldest_unacknowledged() const { return parts_->scheduler.oldest_unacknowledged(); }
TransferOffset Sender::frontier() const { return parts_->scheduler.frontier(); }

std::uint64_t Sender::retention_target() const {
  const Recovery& recovery = parts_->lane.recovery();
  // The stream loses nothing, and what it took is copied.
  if (parts_->by_stream) return 0;
  // By the least RTT: what waits in queues, our own sockets' among them, is in flight too, but is no path.
  const Duration round = recovery.rtt().minimum() + ack_interval(recovery.rtt().minimum());
  const std::uint64_t in_flight = recovery.bytes_in_flight();
  if (recovery.rtt().smoothed() <= round) return in_flight;
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(Wide{in_flight} * static_cast<std::uint64_t>(round.count()) /
                                    static_cast<std::uint64_t>(recovery.rtt().smoothed().count()));
}

const LaneStats& Sender::stats() const {
  LaneStats& stats = parts_->lane.stats();
  stats.limit = parts_->limits.limit();
  if (parts_->by_stream) stats.paced_by_cap = parts_->stream_pacer.has_value();  // TCP paces the rest
  stats.bytes_settled = parts_->scheduler.settled();
  stats.path = parts_->lane.recovery().path_report();
  stats.estimate = parts_->lane.recovery().path_estimate();
  stats.cwnd_first = parts_->lane.recovery().cwnd_first();
  stats.generations_failed = parts_->book.failed();
  return stats;
}

}  // namespace penstock::engine
