#include <algorithm>
#include <utility>
#include <vector>

#include "dataplane/engine/sender_parts.h"

// The stream: a Sender's reliable way beside the datagrams, for paths that do not carry those (control/session/README).

namespace penstock::engine {
namespace {

// A far end without room for a message gets no other for so long, or a round trip: slabs are written out meanwhile.
constexpr Duration stream_pause_min = std::chrono::milliseconds{20};
// TCP and IP headers and TLS's records, for rates: of 1448 bytes in a segment of 1500, and 22 of each 16 KiB.
constexpr std::uint64_t with_stream_overhead(std::uint64_t bytes) { return bytes + bytes / 26; }
constexpr std::uint64_t without_stream_overhead(std::uint64_t bytes) { return bytes - bytes / 27; }

}  // namespace

void Sender::go_by_stream() {
  Parts& p = *parts_;
  if (std::exchange(p.by_stream, true)) return;
  p.lane.recovery().set_probing(false);
  p.persist_at.reset();
  p.pacing_at.reset();
  std::vector<TransferRange> in_flight;
  p.lane.recovery().data_in_flight(in_flight);
  p.book.abandon(in_flight);
  p.scheduler.cut_on_grid(std::nullopt);
  for (const auto& range : in_flight) p.scheduler.on_lost(range);
  p.lane.stats().last_new_sent_at.reset();
  p.lane.stats().all_acked_at.reset();
}

void Sender::go_by_datagrams() {
  parts_->by_stream = false;
  parts_->lane.recovery().set_probing(true);
}

void Sender::on_held(TransferRange range) { parts_->scheduler.on_acked(range); }
void Sender::on_credit(const CreditFrame& credit) { parts_->scheduler.on_credit(credit); }

std::optional<StreamChunk> Sender::poll_stream(TimePoint now, SourceWindow& window, std::size_t length_max) {
  Parts& p = *parts_;
  p.stream_at.reset();
  if (!p.by_stream || p.lane.is_over()) return std::nullopt;
  if (p.stream_rest && now < *p.stream_rest) {
    p.stream_at = p.stream_rest;
    p.limits.on_blocked(now, p.limit = SenderLimit::receiver_credit, p.stream_at);
    return std::nullopt;
  }
  p.stream_rest.reset();
  return p.poll_stream(now, window, length_max);
}

std::optional<StreamChunk> Sender::Parts::poll_stream(TimePoint now, SourceWindow& window, std::size_t length_max) {
  if (!stream.has_room()) {
    limits.on_blocked(now, limit = SenderLimit::receiver_credit);
    return std::nullopt;
  }
  if (stream_pacer) {
    const std::uint64_t paced = without_stream_overhead(stream_pacer->available(now));
    if (paced == 0 || stream_pacer->available(now) < stream_pacer->worthwhile()) {
      stream_at = stream_pacer->ready_at(now);
      limits.on_blocked(now, limit = SenderLimit::pacing, stream_at);
      return std::nullopt;
    }
    length_max = static_cast<std::size_t>(std::min<std::uint64_t>(length_max, paced));
  }
  while (const auto chunk = scheduler.next(length_max)) {
    const auto payload = window.resident(chunk->at, static_cast<std::size_t>(chunk->length));
    if (payload.empty()) {
      prefetches.push_back({scheduler.set_aside(*chunk)});
      continue;
    }
    scheduler.on_sent(*chunk, payload.size());
    stream.on_sent({chunk->at, chunk->at + payload.size()});
    LaneStats& stats = lane.stats();
    ++stats.stream_messages;
    stats.stream_bytes += payload.size();
    stats.payload_bytes_sent += payload.size();
    if (chunk->repeat) {
      stats.stream_bytes_repeated += payload.size();
      stats.payload_bytes_retransmitted += payload.size();
    }
    if (stream_pacer) {
      stream_pacer->on_backlog(now);
      stream_pacer->on_sent(now, with_stream_overhead(payload.size()));
    }
    limit = SenderLimit::sender_cpu;
    limits.on_busy(now);
    return StreamChunk{chunk->at, payload};
  }
  if (stream_pacer) stream_pacer->on_idle(now);
  limits.on_blocked(now, limit = limit_of(scheduler.blocked_by()));
  return std::nullopt;
}

void Sender::on_stream_full(TimePoint now) {
  if (parts_->by_stream) parts_->limits.on_blocked(now, parts_->limit = SenderLimit::stream);
}

void Sender::on_stream_ack(TimePoint now, const StreamAck& ack) {
  Parts& p = *parts_;
  if (p.lane.is_over()) return;
  const auto outcome = p.stream.on_ack(ack);
  if (!outcome) return p.lane.close(TransportError::acknowledged_unsent);
  for (const auto& range : outcome->arrived) p.scheduler.on_acked(range);
  for (const auto& range : outcome->refused) p.scheduler.on_lost(range);
  p.lane.stats().stream_bytes_arrived += outcome->bytes_arrived;
  p.note_tail(now);  // what is still on its way by the stream may be the last, though newer bytes left as datagrams
  p.scheduler.on_credit(ack.credit);
  if (!ack.refused.empty()) p.stream_rest = now + std::max(stream_pause_min, p.lane.recovery().rtt().smoothed());
}

}  // namespace penstock::engine
