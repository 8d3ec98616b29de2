#include "dataplane/engine/wire/packet_header.h"

#include "common/bytes/wire_writer.h"

namespace penstock::engine {

void encode_packet_header(const PacketHeader& header, std::span<std::byte> out) {
  bytes::WireWriter writer(out);
  PENSTOCK_CHECK(header.epoch_bits <= 3);
  writer.u8(
      static_cast<std::uint8_t>(wire_version << 6 | static_cast<std::uint8_t>(header.type) << 2 | header.epoch_bits));
  writer.u64(header.connection.value);
  writer.u32(header.number_low);
  if (header.type == PacketType::data) writer.u48(header.offset.value);
  PENSTOCK_CHECK(writer.ok());
}

PacketNumber reconstruct_packet_number(std::uint32_t number_low, PacketNumber largest) {
  constexpr std::uint64_t window = std::uint64_t{1} << 32;
  const std::uint64_t expected = largest.value + 1;
  const std::uint64_t candidate = (expected & ~(window - 1)) | number_low;
  if (candidate + window / 2 <= expected) return {candidate + window};
  if (candidate > expected + window / 2 && candidate >= window) return {candidate - window};
  return {candidate};
}

}  // namespace penstock::engine
