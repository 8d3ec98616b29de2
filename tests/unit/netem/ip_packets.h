#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "netem/emulator/ip_packet.h"

namespace penstock::netem::test {

enum class Version : std::uint8_t { v4, v6 };

struct PacketSpec {
  Version version = Version::v4;
  std::uint8_t protocol = 17;
  std::size_t ip_options = 0;   // IPv4, bytes, a multiple of four
  std::size_t tcp_options = 0;  // bytes, a multiple of four
  std::size_t payload = 100;
  std::uint64_t seed = 1;
  std::uint8_t destination = 2;  // last byte: 10.77.0.N, fd77::N
  std::uint16_t fragment_offset = 0;
};

/// An IP packet with UDP, TCP or anything else inside and a right transport checksum.
std::vector<std::byte> make_packet(const PacketSpec& spec);
/// The transport checksum as RFC 768, 793 and 8200 section 8.1 tell it, computed afresh; 0xffff for UDP's zero.
std::uint16_t full_checksum(std::span<const std::byte> packet);
std::uint16_t stored_checksum(std::span<const std::byte> packet);
/// Numbers only.
IpAddress address(std::string_view text);

}  // namespace penstock::netem::test
