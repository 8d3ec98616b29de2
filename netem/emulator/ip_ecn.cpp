#include "netem/emulator/ip_ecn.h"

#include <cstdint>

#include "netem/emulator/checksum_repair.h"

namespace penstock::netem {
namespace {

constexpr std::uint8_t ce = 3;

bool is_v4(std::span<const std::byte> packet) { return std::to_integer<unsigned>(packet[0]) >> 4 == 4; }

std::uint16_t word(std::span<const std::byte> packet, std::size_t at) {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(packet[at]) << 8 |
                                    std::to_integer<unsigned>(packet[at + 1]));
}

}  // namespace

bool heeds_marks(std::span<const std::byte> packet) {
  const unsigned field = is_v4(packet) ? std::to_integer<unsigned>(packet[1]) : word(packet, 0) >> 4;
  return (field & ce) != 0;
}

void mark_congested(std::span<std::byte> packet) {
  const std::uint16_t before = word(packet, 0);
  // IPv6: version (4), traffic class (8), flow label.
  packet[1] |= is_v4(packet) ? std::byte{ce} : std::byte{ce << 4};
  if (!is_v4(packet)) return;
  constexpr std::size_t checksum_at = 10;
  const std::uint16_t checksum = updated_checksum(word(packet, checksum_at), before, word(packet, 0));
  packet[checksum_at] = static_cast<std::byte>(checksum >> 8);
  packet[checksum_at + 1] = static_cast<std::byte>(checksum & 0xff);
}

}  // namespace penstock::netem
