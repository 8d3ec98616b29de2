#include "tests/sim/datagram.h"

namespace penstock::sim {
namespace {

constexpr std::size_t frames_header = 13;
constexpr std::size_t data_header = 19;
constexpr std::size_t tag = 16;

/// Two bits of version, four of type, two of epoch; type 1 is bulk DATA.
bool is_bulk_data(std::uint8_t first_byte) { return (first_byte >> 2 & 0xf) == 1; }

std::uint64_t big_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (const std::byte byte : bytes) value = value << 8 | std::to_integer<std::uint64_t>(byte);
  return value;
}

}  // namespace

std::optional<ClearHeader> read_clear_header(std::span<const std::byte> datagram) {
  if (datagram.size() < frames_header + tag) return std::nullopt;
  ClearHeader header;
  header.first_byte = std::to_integer<std::uint8_t>(datagram[0]);
  header.connection = {big_endian(datagram.subspan(1, 8))};
  header.number = static_cast<std::uint32_t>(big_endian(datagram.subspan(9, 4)));
  if (is_bulk_data(header.first_byte) && datagram.size() >= data_header + tag) {
    header.offset = TransferOffset{big_endian(datagram.subspan(13, 6))};
    header.payload = datagram.size() - data_header - tag;
  }
  return header;
}

void TraceHash::add(std::uint64_t word) {
  for (int shift = 0; shift < 64; shift += 8) {
    hash_ ^= word >> shift & 0xff;
    hash_ *= 0x100000001b3;
  }
}

}  // namespace penstock::sim
