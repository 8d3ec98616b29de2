#include "dataplane/engine/wire/ack_frame.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "common/bytes/wire_reader.h"
#include "common/check.h"

namespace penstock::engine {
namespace {

using bytes::Interval;
using bytes::WireReader;
using bytes::WireWriter;

/// First range: how many numbers below the largest; then for each further one: missing numbers - 1, its size - 1.
bool decode_range_list(WireReader in, PacketNumber largest, std::vector<AckRange>& ranges) {
  std::uint64_t top = largest.value;
  std::uint64_t below = in.varint();
  while (in.ok()) {
    if (below > top || ranges.size() == ack_frame_ranges_max) return false;
    ranges.push_back({PacketNumber{top - below}, PacketNumber{top}});
    if (in.remaining() == 0) return true;
    const std::uint64_t missing = in.varint() + 1;
    const std::uint64_t used = below + missing + 1;  // each part is below 2^62
    if (used > top) return false;
    top -= used;
    below = in.varint();
  }
  return false;
}

/// Bit i, from the low bit of the first byte, stands for the number largest - 1 - i.
bool decode_bitmap(std::span<const std::byte> bitmap, PacketNumber largest, std::vector<AckRange>& ranges) {
  std::uint64_t smallest = largest.value;
  std::uint64_t top = largest.value;
  bool open = true;
  for (std::size_t i = 0; i < bitmap.size() * 8; ++i) {
    if ((std::to_integer<unsigned>(bitmap[i / 8]) >> (i % 8) & 1) == 0) {
      if (open) {
        if (ranges.size() == ack_frame_ranges_max) return false;
        ranges.push_back({PacketNumber{smallest}, PacketNumber{top}});
      }
      open = false;
      continue;
    }
    if (i >= largest.value) return false;  // would stand for a number below 0
    smallest = largest.value - 1 - i;
    if (!open) top = smallest;
    open = true;
  }
  if (open) {
    if (ranges.size() == ack_frame_ranges_max) return false;
    ranges.push_back({PacketNumber{smallest}, PacketNumber{top}});
  }
  return true;
}

void encode_bitmap(std::span<std::byte> out, std::span<const Interval> covered, std::uint64_t largest,
                   std::uint64_t floor) {
  std::fill(out.begin(), out.end(), std::byte{0});
  for (const Interval& part : covered)
    for (std::uint64_t n = std::max(part.begin, floor); n < part.end && n < largest; ++n) {
      const std::uint64_t bit = largest - 1 - n;
      out[bit / 8] |= static_cast<std::byte>(1U << (bit % 8));
    }
}

void encode_range_list(WireWriter& out, std::span<const Interval> covered) {
  out.varint(covered.back().size() - 1);
  for (std::size_t i = covered.size() - 1; i-- > 0;) {
    out.varint(covered[i + 1].begin - covered[i].end - 1);
    out.varint(covered[i].size() - 1);
  }
}

bool decode_held(WireReader& in, HeldData& held, std::vector<TransferRange>& ranges) {
  held.recovered = in.varint();
  std::uint64_t at = 0;
  while (in.ok() && in.remaining() > 0) {
    const std::uint64_t distance = in.varint();
    const std::uint64_t length = in.varint();  // each is below 2^62
    if (!in.ok() || length == 0 || ranges.size() == ack_frame_held_max) return false;
    if (distance > transfer_space_max - at || length > transfer_space_max - at - distance) return false;
    ranges.push_back({{at + distance}, {at + distance + length}});
    at += distance + length;
  }
  held.ranges = ranges;
  return in.ok() && !ranges.empty();
}

void encode_held(WireWriter& out, const HeldData& held) {
  out.varint(held.recovered);
  TransferOffset at;
  for (const TransferRange& range : held.ranges) {
    out.varint(range.begin - at);
    out.varint(range.size());
    at = range.end;
  }
}

}  // namespace

std::size_t held_data_size(const HeldData& held) {
  if (held.ranges.empty()) return 0;
  std::size_t size = bytes::varint_size(held.recovered);
  TransferOffset at;
  for (const TransferRange& range : held.ranges) {
    size += bytes::varint_size(range.begin - at) + bytes::varint_size(range.size());
    at = range.end;
  }
  return size;
}

Decoded<AckFrame> decode_ack(std::span<const std::byte> body, std::vector<AckRange>& ranges) {
  std::vector<TransferRange> held;
  auto frame = decode_ack(body, ranges, held);
  if (frame.ok()) frame->held = {};
  return frame;
}

Decoded<AckFrame> decode_ack(std::span<const std::byte> body, std::vector<AckRange>& ranges,
                             std::vector<TransferRange>& held) {
  WireReader in(body);
  AckFrame frame;
  const std::uint8_t flags = in.u8();
  frame.fields.queue_fill = in.u8();
  frame.largest = PacketNumber{in.u64()};
  frame.fields.delay = std::chrono::microseconds{in.u32()};
  frame.fields.credit = {.credit = in.u64(), .offset_limit = TransferOffset{in.u48()}};
  frame.fields.socket_drops = in.u32();
  frame.fields.sink_refusals = in.u32();
  const auto part = in.bytes(in.u16());
  if (!in.ok()) return WireError::truncated;
  if ((flags & ~(ack_flag_bitmap | ack_flag_recovered)) != 0) return WireError::value_out_of_range;
  if ((flags & ack_flag_recovered) == 0 && in.remaining() != 0) return WireError::trailing_bytes;
  if (frame.largest.value > bytes::varint_max) return WireError::value_out_of_range;
  ranges.clear();
  held.clear();
  if ((flags & ack_flag_recovered) != 0 && !decode_held(in, frame.held, held)) return WireError::value_out_of_range;
  const bool well_formed = (flags & ack_flag_bitmap) != 0 ? decode_bitmap(part, frame.largest, ranges)
                                                          : decode_range_list(WireReader(part), frame.largest, ranges);
  if (!well_formed) return WireError::value_out_of_range;
  frame.ranges = ranges;
  return frame;
}

std::size_t encode_ack(WireWriter& out, std::size_t room, const AckFields& fields, std::span<const Interval> received,
                       PacketNumber floor, const HeldData& held) {
  const std::size_t held_size = held_data_size(held);
  PENSTOCK_CHECK(!received.empty() && room >= ack_frame_size_min + held_size);
  room -= held_size;
  room = std::min<std::size_t>(room - frame_header_size - ack_fields_size,
                               std::numeric_limits<std::uint16_t>::max() - ack_fields_size - held_size);
  const std::uint64_t largest = received.back().end - 1;
  const auto bitmap_bytes = [&](const Interval& oldest) {
    return (largest - std::min(largest, std::max(oldest.begin, floor.value)) + 7) / 8;
  };
  // Grow from the newest while either form still fits; a larger cover never makes either form smaller.
  std::size_t covered = 1;
  std::uint64_t list_bytes = bytes::varint_size(received.back().size() - 1);
  while (covered < std::min(received.size(), ack_frame_ranges_max)) {
    const Interval& newer = received[received.size() - covered];
    const Interval& next = received[received.size() - covered - 1];
    if (next.end <= floor.value) break;
    const std::uint64_t with_next =
        list_bytes + bytes::varint_size(newer.begin - next.end - 1) + bytes::varint_size(next.size() - 1);
    if (with_next > room && bitmap_bytes(next) > room) break;
    list_bytes = with_next;
    ++covered;
  }
  const auto parts = received.last(covered);
  const std::uint64_t bitmap_size = bitmap_bytes(parts.front());
  const bool as_bitmap = bitmap_size < list_bytes;
  const std::size_t part_size = static_cast<std::size_t>(as_bitmap ? bitmap_size : list_bytes);

  const auto delay_us = std::chrono::duration_cast<std::chrono::microseconds>(fields.delay).count();
  out.u8(static_cast<std::uint8_t>(FrameType::ack));
  out.u16(static_cast<std::uint16_t>(ack_fields_size + part_size + held_size));
  out.u8(static_cast<std::uint8_t>((as_bitmap ? ack_flag_bitmap : 0) | (held_size > 0 ? ack_flag_recovered : 0)));
  out.u8(fields.queue_fill);
  out.u64(largest);
  out.u32(static_cast<std::uint32_t>(std::clamp<std::int64_t>(delay_us, 0, std::numeric_limits<std::uint32_t>::max())));
  out.u64(fields.credit.credit);
  out.u48(fields.credit.offset_limit.value);
  out.u32(fields.socket_drops);
  out.u32(fields.sink_refusals);
  out.u16(static_cast<std::uint16_t>(part_size));
  if (as_bitmap)
    encode_bitmap(out.reserve(part_size), parts, largest, floor.value);
  else
    encode_range_list(out, parts);
  if (held_size > 0) encode_held(out, held);
  return covered;
}

}  // namespace penstock::engine
