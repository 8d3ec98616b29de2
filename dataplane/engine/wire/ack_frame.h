#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/bytes/wire_writer.h"
#include "common/time.h"
#include "common/units.h"
#include "common/wire_error.h"
#include "dataplane/engine/wire/frames.h"

namespace penstock::engine {

/// Packet numbers, both ends included.
struct AckRange {
  PacketNumber smallest;
  PacketNumber largest;
  auto operator<=>(const AckRange&) const = default;
};

/// What an ACK says beside its ranges.
struct AckFields {
  Duration delay{};                 // from the arrival of the largest to this ACK; microseconds on the wire
  CreditFrame credit = {};          // zero from the end that receives no DATA
  std::uint32_t socket_drops = 0;   // SO_RXQ_OVFL of the end that acknowledges, running total, stops at 2^32 - 1
  std::uint32_t sink_refusals = 0;  // authentic DATA that its sink had no room for, likewise
  std::uint8_t queue_fill = 0;      // of its window, in 255ths
  bool operator==(const AckFields&) const = default;
};

/// Data that is at the other end whatever became of the packets that carried it: bytes recovered from repair symbols,
/// and what lies around them (fec/README.md).
struct HeldData {
  std::uint64_t recovered = 0;            // symbols recovered so far, running total
  std::span<const TransferRange> ranges;  // ascending, disjoint, not empty; borrowed
};

// Specification: flags (1), queue fill (1), largest (8), delay in us (4), credit (8), offset limit (6), socket drops
// (4), sink refusals (4), length of the ranges part (2), ranges part. Flag bit 0: the ranges part is a bitmap; bit 1:
// held data follows to the frame's end, all varints: symbols recovered so far; then for each range its distance from
// the end of the one before (of the first: from 0), and its length.
inline constexpr std::size_t ack_fields_size = 38;
inline constexpr std::uint8_t ack_flag_bitmap = 1;
inline constexpr std::uint8_t ack_flag_recovered = 2;
/// A receiver of ACKs takes no more ranges than this in one frame; a datagram of 64 KiB could claim 30 000.
inline constexpr std::size_t ack_frame_ranges_max = 8192;
/// And no more held ranges; a writer of ours tells of far fewer.
inline constexpr std::size_t ack_frame_held_max = 1024;

struct AckFrame {
  AckFields fields;
  PacketNumber largest;
  std::span<const AckRange> ranges;     // newest first, disjoint; borrowed from the caller's vector
  HeldData held = {};                   // likewise
  std::optional<EcnCounts> marks = {};  // of the ECN_COUNTS frame before it, which is no part of it
};

/// `ranges` receives the ranges, newest first, and `held` what is held; their memory is reused from call to call.
[[nodiscard]] Decoded<AckFrame> decode_ack(std::span<const std::byte> body, std::vector<AckRange>& ranges,
                                           std::vector<TransferRange>& held);
/// For who does not care about held data: it is checked, and left out.
[[nodiscard]] Decoded<AckFrame> decode_ack(std::span<const std::byte> body, std::vector<AckRange>& ranges);

/// Writes one ACK for the newest of `received` (ascending, disjoint, not empty): as many as fit into `room` bytes of
/// `out`, in the smaller of both forms. Numbers below `floor` may be left out. Returns how many of the intervals, from
/// the back, it covers: at least one. `held` is written when it has ranges. Requires: room >= ack_frame_size_min +
/// held_data_size(held).
std::size_t encode_ack(bytes::WireWriter& out, std::size_t room, const AckFields& fields,
                       std::span<const bytes::Interval> received, PacketNumber floor, const HeldData& held = {});
inline constexpr std::size_t ack_frame_size_min = frame_header_size + ack_fields_size + 8;
/// Bytes that `held` takes in an ACK: none without ranges.
[[nodiscard]] std::size_t held_data_size(const HeldData& held);

}  // namespace penstock::engine
