#include <algorithm>
#include <chrono>

#include "common/check.h"
#include "dataplane/engine/sender_parts.h"

// Repair that nobody asked for: which ratio of it there is to be, its symbols, and second copies at the tail.

namespace penstock::engine {
namespace {

// More often, and messages follow the scatter of the measured loss.
constexpr Duration ratio_interval_min = std::chrono::milliseconds{500};

}  // namespace

/// Asks for another ratio when the measured loss wants a quarter more or less repair, or the window has outgrown what
/// the peer keeps.
void Sender::Parts::propose_ratio(TimePoint now) {
  if (!lane.is_open() || (proposed_at && now - *proposed_at < ratio_interval_min)) return;
  const Recovery& recovery = lane.recovery();
  RepairRatio wanted{.sources = fec.sources, .repairs = fec.repairs, .loss_ppm = 0, .window = 0};
  if (fec.mode == FecMode::automatic) {
    wanted.sources = slots_max;
    wanted.loss_ppm = recovery.rtt().smoothed() < repair_rtt_min ? 0 : loss.loss_ppm();
    wanted.repairs = static_cast<std::uint8_t>(repairs_for(slots_max, wanted.loss_ppm, recovery.rtt().smoothed()));
  }
  const int change = std::max(wanted.repairs, proposed.repairs) - std::min(wanted.repairs, proposed.repairs);
  const bool other = wanted.repairs == 0 ? proposed.repairs > 0 : change > std::max(1, proposed.repairs / 4);
  // A generation reaches back over what is in flight, and what arrived while its repair symbols were on their way.
  // Where much is lost, repeats that are lost again lie several round trips back.
  const std::uint64_t in_flight = recovery.bytes_in_flight();
  const std::uint64_t reach = std::max(in_flight + in_flight / 4, scheduler.reach_back());
  const bool wider = wanted.repairs > 0 && reach > proposed.window && proposed.window < repair_window_max;
  if (!other && !wider) return;
  // Twice that, for it may grow before we may ask again; the peer keeps no more than it has room for.
  wanted.window = std::clamp<std::uint64_t>(std::max(2 * reach, proposed.window), slab_size, repair_window_max);
  proposed = wanted;
  proposed_at = now;
  proposal_due = true;
}

/// Puts repair symbols into the batch. False: there are none; true: `segments` of them, or what holds them back is in
/// `limit`.
bool Sender::Parts::fill_with_repair(TimePoint now, SourceWindow& window, std::span<std::byte> buffer, Room room,
                                     Transmit& out, std::size_t& segments) {
  while (segments < room.segments_max && lane.can_seal_data()) {
    const auto repair = book.next(scheduler, window, lane.data_size(), prefetches);
    if (!repair) return segments > 0;
    const std::size_t size =
        frames_header_size + crypto::aead_tag_size + repair_frame_overhead + repair->frame.symbol.size();
    if (segments > 0 && size != out.segment_size) return true;
    if (room.allowance < size) {
      limit = SenderLimit::cwnd;
      return true;
    }
    if (room.paced < size + ip_overhead) {
      limit = SenderLimit::pacing;
      pacing_at = lane.recovery().pacer().ready_at(now);
      return true;
    }
    PENSTOCK_CHECK(lane.seal_repair(now, repair->frame, repair->generation, buffer.subspan(out.size), out.mark) ==
                   size);
    book.on_sent(now, *repair);
    room.allowance -= size;
    room.paced -= size + ip_overhead;
    out.size += size;
    if (segments++ == 0) out.segment_size = size;
  }
  return true;
}

/// Nothing is left to be sent for the first time, or again: spare window carries copies of what was repeated.
std::optional<Transmit> Sender::Parts::poll_tail_copies(TimePoint now, SourceWindow& window,
                                                        std::span<std::byte> buffer) {
  Recovery& recovery = lane.recovery();
  const std::size_t segments_max =
      std::min({batch_segments_max, udp_payload_limit / lane.data_size(), buffer.size() / lane.data_size()});
  std::uint64_t allowance = recovery.allowance();
  std::uint64_t paced = recovery.pacer().available(now);
  Transmit out{.mark = lane.batch_mark(now)};
  std::size_t segments = 0;
  while (segments < segments_max && lane.can_seal_data()) {
    const auto number = recovery.next_tail_copy();
    if (!number) break;
    const SentPacket packet = recovery.packet(*number);
    const std::size_t size = data_overhead + packet.length;
    if (size > lane.data_size()) {  // the path carries no such datagram any more: its loss asks for a repeat in parts
      recovery.skip_tail_copy();
      continue;
    }
    if (allowance < size || (segments > 0 && size > out.segment_size)) break;
    if (paced < size + ip_overhead) {
      pacing_at = recovery.pacer().ready_at(now);
      break;
    }
    const auto payload = window.resident({packet.offset}, packet.length);
    // Another copy arrived; or it would have to be read again, which takes too long to be worth it.
    if (!scheduler.is_wanted({{packet.offset}, {packet.offset + packet.length}}) || payload.size() < packet.length) {
      recovery.skip_tail_copy();
      continue;
    }
    lane.seal_data(now, {packet.offset}, payload.first(packet.length), buffer.subspan(out.size),
                   static_cast<std::uint8_t>(packet.attempt + 1), out.mark);
    recovery.on_tail_copy();
    lane.stats().payload_bytes_sent += packet.length;
    lane.stats().payload_bytes_retransmitted += packet.length;
    allowance -= size;
    paced -= size + ip_overhead;
    out.size += size;
    if (segments++ == 0) out.segment_size = size;
    if (size < out.segment_size) break;
  }
  if (segments == 0) return std::nullopt;
  lane.on_data_batch(now, segments, out);
  return out;
}

}  // namespace penstock::engine
