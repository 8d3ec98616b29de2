#include "netem/emulator/ip_packet.h"

namespace penstock::netem {
namespace {

std::uint8_t u8(std::span<const std::byte> bytes, std::size_t at) { return std::to_integer<std::uint8_t>(bytes[at]); }

std::uint16_t u16(std::span<const std::byte> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(u8(bytes, at) << 8 | u8(bytes, at + 1));
}

constexpr std::size_t v4_header_min = 20;
constexpr std::size_t v6_header = 40;

std::optional<IpLayout> read_v4(std::span<const std::byte> packet) {
  if (packet.size() < v4_header_min) return std::nullopt;
  IpLayout layout;
  layout.header_size = static_cast<std::size_t>(u8(packet, 0) & 0x0f) * 4;
  layout.size = u16(packet, 2);
  if (layout.header_size < v4_header_min || layout.size < layout.header_size || layout.size > packet.size()) {
    return std::nullopt;
  }
  constexpr std::uint16_t fragment_offset_mask = 0x1fff;
  layout.later_fragment = (u16(packet, 6) & fragment_offset_mask) != 0;
  layout.protocol = u8(packet, 9);
  layout.destination[10] = layout.destination[11] = 0xff;
  for (std::size_t i = 0; i < 4; ++i) layout.destination[12 + i] = u8(packet, 16 + i);
  return layout;
}

std::optional<IpLayout> read_v6(std::span<const std::byte> packet) {
  if (packet.size() < v6_header) return std::nullopt;
  IpLayout layout;
  layout.header_size = v6_header;
  layout.size = v6_header + u16(packet, 4);
  if (layout.size > packet.size()) return std::nullopt;
  layout.protocol = u8(packet, 6);
  for (std::size_t i = 0; i < layout.destination.size(); ++i) layout.destination[i] = u8(packet, 24 + i);
  return layout;
}

}  // namespace

std::optional<IpLayout> read_ip_layout(std::span<const std::byte> packet) {
  if (packet.empty()) return std::nullopt;
  const int version = u8(packet, 0) >> 4;
  if (version == 4) return read_v4(packet);
  if (version == 6) return read_v6(packet);
  return std::nullopt;
}

}  // namespace penstock::netem
