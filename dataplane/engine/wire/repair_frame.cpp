#include "dataplane/engine/wire/repair_frame.h"

#include "common/bytes/wire_reader.h"

namespace penstock::engine {
namespace {

/// The mask's bytes are the halves with their low byte first.
std::uint64_t read_half(bytes::WireReader& in) {
  std::uint64_t half = 0;
  for (unsigned shift = 0; shift < 64; shift += 8) half |= std::uint64_t{in.u8()} << shift;
  return half;
}
void write_half(bytes::WireWriter& out, std::uint64_t half) {
  for (unsigned shift = 0; shift < 64; shift += 8) out.u8(static_cast<std::uint8_t>(half >> shift));
}

bool makes_sense(const RepairFrame& frame) {
  const RepairLayout& layout = frame.layout;
  if (layout.size < erasure::symbol_size_min || layout.stride == 0 || layout.stride > stride_max) return false;
  if (frame.repairs == 0 || frame.repairs > erasure::repair_symbols_max || frame.index >= frame.repairs) return false;
  if (!layout.mask.has(0)) return false;
  const SymbolGrid grid = layout.grid();
  const std::uint64_t first = grid.symbol_at(layout.base.value);
  if (grid.begin_of(first) != layout.base.value) return false;
  // The last symbol can be cut short, but neither to nothing nor beyond its place.
  const std::uint64_t last = first + layout.mask.last() * layout.stride;
  const std::uint64_t end = grid.begin_of(last) + layout.last;
  return layout.last > 0 && end <= grid.end_of(last) && end <= transfer_space_max;
}

}  // namespace

Decoded<RepairFrame> decode_repair(std::span<const std::byte> body) {
  bytes::WireReader in(body);
  RepairFrame frame;
  frame.layout.base = {in.u48()};
  frame.layout.size = in.u16();
  frame.layout.stride = in.u16();
  frame.layout.last = in.u16();
  frame.repairs = in.u8();
  frame.index = in.u8();
  frame.layout.mask.low = read_half(in);
  frame.layout.mask.high = read_half(in);
  frame.symbol = in.bytes(frame.layout.size);
  if (!in.ok()) return WireError::truncated;
  if (!in.done()) return WireError::trailing_bytes;
  if (!makes_sense(frame)) return WireError::value_out_of_range;
  return frame;
}

void encode_repair(bytes::WireWriter& out, const RepairFrame& frame) {
  PENSTOCK_CHECK(frame.symbol.size() == frame.layout.size && makes_sense(frame));
  out.u8(static_cast<std::uint8_t>(FrameType::repair));
  out.u16(static_cast<std::uint16_t>(repair_fields_size + frame.symbol.size()));
  out.u48(frame.layout.base.value);
  out.u16(frame.layout.size);
  out.u16(frame.layout.stride);
  out.u16(frame.layout.last);
  out.u8(frame.repairs);
  out.u8(frame.index);
  write_half(out, frame.layout.mask.low);
  write_half(out, frame.layout.mask.high);
  out.bytes(frame.symbol);
}

}  // namespace penstock::engine
