#include "tests/unit/netem/ip_packets.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <string>

#include "common/check.h"
#include "common/random.h"

namespace penstock::netem::test {
namespace {

void put16(std::span<std::byte> out, std::size_t at, std::size_t value) {
  out[at] = static_cast<std::byte>(value >> 8 & 0xff);
  out[at + 1] = static_cast<std::byte>(value & 0xff);
}

std::uint32_t sum_words(std::span<const std::byte> bytes, std::uint32_t sum) {
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += std::to_integer<std::uint32_t>(bytes[i]) << 8;
    if (i + 1 < bytes.size()) sum += std::to_integer<std::uint32_t>(bytes[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

struct Parts {
  bool v4;
  std::size_t header;
  std::uint8_t protocol;
  std::size_t checksum_at;
};

Parts parts_of(std::span<const std::byte> packet) {
  const bool v4 = std::to_integer<int>(packet[0] >> 4) == 4;
  const std::size_t header = v4 ? std::to_integer<std::size_t>(packet[0] & std::byte{0x0f}) * 4 : 40;
  const auto protocol = std::to_integer<std::uint8_t>(packet[v4 ? 9 : 6]);
  return {v4, header, protocol, header + (protocol == 17 ? 6U : 16U)};
}

}  // namespace

std::uint16_t stored_checksum(std::span<const std::byte> packet) {
  const std::size_t at = parts_of(packet).checksum_at;
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(packet[at]) << 8 |
                                    std::to_integer<unsigned>(packet[at + 1]));
}

std::uint16_t full_checksum(std::span<const std::byte> packet) {
  const Parts parts = parts_of(packet);
  std::vector<std::byte> transport(packet.begin() + static_cast<std::ptrdiff_t>(parts.header), packet.end());
  put16(transport, parts.checksum_at - parts.header, 0);
  std::uint32_t sum = sum_words(parts.v4 ? packet.subspan(12, 8) : packet.subspan(8, 32), 0);
  sum += parts.protocol + static_cast<std::uint32_t>(transport.size());
  sum = sum_words(transport, sum);
  const auto checksum = static_cast<std::uint16_t>(~sum & 0xffff);
  return checksum == 0 && parts.protocol == 17 ? std::uint16_t{0xffff} : checksum;
}

IpAddress address(std::string_view text) {
  IpAddress address{};
  const std::string host{text};
  if (inet_pton(AF_INET, host.c_str(), address.data() + 12) == 1) {
    address[10] = address[11] = 0xff;
  } else {
    PENSTOCK_CHECK(inet_pton(AF_INET6, host.c_str(), address.data()) == 1);
  }
  return address;
}

std::vector<std::byte> make_packet(const PacketSpec& spec) {
  const bool v4 = spec.version == Version::v4;
  const std::size_t header = v4 ? 20 + spec.ip_options : 40;
  const std::size_t transport = spec.protocol == 17 ? 8 : spec.protocol == 6 ? 20 + spec.tcp_options : 0;
  std::vector<std::byte> packet(header + transport + spec.payload);
  Rng{spec.seed}.fill(std::span{packet}.subspan(header));
  if (v4) {
    packet[0] = static_cast<std::byte>(0x40 | header / 4);
    put16(packet, 2, packet.size());
    put16(packet, 6, spec.fragment_offset);
    packet[8] = std::byte{64};
    packet[9] = std::byte{spec.protocol};
    const std::array<std::uint8_t, 8> addresses{10, 77, 0, 1, 10, 77, 0, spec.destination};
    std::transform(addresses.begin(), addresses.end(), packet.begin() + 12, [](auto b) { return std::byte{b}; });
  } else {
    packet[0] = std::byte{0x60};
    put16(packet, 4, packet.size() - 40);
    packet[6] = std::byte{spec.protocol};
    packet[7] = std::byte{64};
    for (const auto& [at, last] : {std::pair{std::size_t{8}, std::uint8_t{1}}, {std::size_t{24}, spec.destination}}) {
      packet[at] = std::byte{0xfd};
      packet[at + 1] = std::byte{0x77};
      packet[at + 15] = std::byte{last};
    }
  }
  if (spec.protocol == 17) put16(packet, header + 4, transport + spec.payload);
  if (spec.protocol == 6) packet[header + 12] = static_cast<std::byte>(transport / 4 << 4);
  if (spec.protocol == 17 || spec.protocol == 6)
    put16(packet, header + (spec.protocol == 17 ? 6 : 16), full_checksum(packet));
  return packet;
}

}  // namespace penstock::netem::test
