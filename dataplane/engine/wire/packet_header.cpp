#include "dataplane/engine/wire/packet_header.h"

#include "common/bytes/wire_reader.h"
#include "common/bytes/wire_writer.h"

namespace penstock::engine {

Decoded<PacketHeader> decode_packet_header(std::span<const std::byte> datagram) {
  bytes::WireReader in(datagram);
  const std::uint8_t first = in.u8();
  const std::uint8_t type = (first >> 2) & 0xf;
  PacketHeader header{
      .epoch_bits = static_cast<std::uint8_t>(first & 3),
      .connection = ConnectionId{in.u64()},
      .number_low = in.u32(),
  };
  if (!in.ok()) return WireError::truncated;
  if (first >> 6 != wire_version) return WireError::unexpected_packet_type;
  if (type == static_cast<std::uint8_t>(PacketType::data)) {
    header.type = PacketType::data;
    header.offset = TransferOffset{in.u48()};
  } else if (type != static_cast<std::uint8_t>(PacketType::frames)) {
    return WireError::unexpected_packet_type;
  }
  if (in.remaining() <= crypto::aead_tag_size) return WireError::truncated;
  return header;
}

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
