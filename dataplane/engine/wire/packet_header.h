#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/bytes/wire_reader.h"
#include "common/crypto/aead.h"
#include "common/units.h"
#include "common/wire_error.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::engine {

// Specification: the first byte is 2 bits version, 4 bits type, 2 bits epoch, from the top (dataplane/README).
inline constexpr std::uint8_t wire_version = 1;
enum class PacketType : std::uint8_t { data = 1, frames = 2 };

/// The clear part of a datagram, which is also the AAD. Nothing in it may be believed before the tag is right, except
/// to find the place into which the datagram is opened.
struct PacketHeader {
  PacketType type = PacketType::frames;
  std::uint8_t epoch_bits = 0;  // the two low bits of the key epoch
  ConnectionId connection = {};
  std::uint32_t number_low = 0;  // low 32 bits of the packet number
  TransferOffset offset = {};    // DATA alone
  bool operator==(const PacketHeader&) const = default;
};

[[nodiscard]] constexpr std::size_t header_size(PacketType type) {
  return type == PacketType::data ? data_header_size : frames_header_size;
}

/// Reads the header at the front of `datagram`; what follows it is not looked at, but must be long enough for a tag and
/// at least one sealed byte (an empty packet says nothing).
/// Here, since it is called for every datagram: through memory, the header would be read back wider than it was
/// written, which waits for all stores of the cipher before it.
[[nodiscard]] inline Decoded<PacketHeader> decode_packet_header(std::span<const std::byte> datagram) {
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
/// Writes header_size(header.type) bytes. Requires: that much room, epoch_bits <= 3, offset <= transfer_space_max.
void encode_packet_header(const PacketHeader& header, std::span<std::byte> out);

/// The number whose low 32 bits these are and which lies closest to one past the `largest` authenticated so far.
/// Source: RFC 9000 appendix A.3, with a window of 2^32.
[[nodiscard]] PacketNumber reconstruct_packet_number(std::uint32_t number_low, PacketNumber largest);

}  // namespace penstock::engine
