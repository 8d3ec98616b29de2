#include "netem/emulator/checksum_repair.h"

#include <optional>

#include "common/check.h"
#include "netem/emulator/ip_packet.h"

namespace penstock::netem {
namespace {

constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t protocol_udp = 17;
constexpr std::size_t udp_header = 8;
constexpr std::size_t tcp_header_min = 20;

std::uint16_t u16(std::span<const std::byte> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[at]) << 8 |
                                    std::to_integer<unsigned>(bytes[at + 1]));
}

void set_u16(std::span<std::byte> bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::byte>(value >> 8);
  bytes[at + 1] = static_cast<std::byte>(value & 0xff);
}

/// A part of the packet, in bytes from its beginning.
struct Part {
  std::size_t begin;
  std::size_t end;
};

struct Transport {
  std::size_t checksum_at;
  Part payload;
};

/// UDP or TCP with at least one byte of payload.
std::optional<Transport> read_transport(std::span<const std::byte> packet, const IpLayout& ip) {
  if (ip.later_fragment) return std::nullopt;
  const std::size_t header = ip.header_size;
  if (ip.protocol == protocol_udp && ip.size > header + udp_header) {
    return Transport{.checksum_at = header + 6, .payload = {header + udp_header, ip.size}};
  }
  if (ip.protocol == protocol_tcp && ip.size > header + tcp_header_min) {
    const std::size_t payload = header + std::to_integer<std::size_t>(packet[header + 12] >> 4) * 4;
    if (payload < header + tcp_header_min || payload >= ip.size) return std::nullopt;
    return Transport{.checksum_at = header + 16, .payload = {payload, ip.size}};
  }
  return std::nullopt;
}

/// The byte of `part` that the bit of the whole packet is mapped onto; shares stay uniform to one part in its size.
std::size_t byte_within(Part part, std::uint64_t drawn_bit, std::size_t packet_size) {
  return part.begin + static_cast<std::size_t>(drawn_bit / 8 * (part.end - part.begin) / packet_size);
}

void flip(std::span<std::byte> packet, std::size_t byte, std::uint64_t drawn_bit) {
  packet[byte] ^= std::byte{1} << static_cast<unsigned>(drawn_bit % 8);
}

/// The 16-bit word of the checksummed data in which `byte` lies. The transport header begins it and every IP header is
/// of even size; a last odd byte is padded with zero.
std::uint16_t word_of(std::span<const std::byte> packet, std::size_t byte, std::size_t begin, std::size_t end) {
  const std::size_t at = byte - (byte - begin) % 2;
  if (at + 1 < end) return u16(packet, at);
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(packet[at]) << 8);
}

}  // namespace

std::uint16_t updated_checksum(std::uint16_t checksum, std::uint16_t old_word, std::uint16_t new_word) {
  const auto inverted = [](std::uint16_t word) { return static_cast<std::uint32_t>(~word & 0xffff); };
  std::uint32_t sum = inverted(checksum) + inverted(old_word) + new_word;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum & 0xffff);
}

bool flip_bit(std::span<std::byte> packet, std::uint64_t drawn_bit, CorruptReach reach) {
  PENSTOCK_CHECK(drawn_bit < 8 * packet.size());
  const auto ip = read_ip_layout(packet);
  if (!ip || ip->size == ip->header_size) return false;
  const auto transport = reach == CorruptReach::application ? read_transport(packet, *ip) : std::nullopt;
  if (!transport) {
    flip(packet, byte_within({ip->header_size, ip->size}, drawn_bit, packet.size()), drawn_bit);
    return true;
  }
  const std::size_t byte = byte_within(transport->payload, drawn_bit, packet.size());
  const std::uint16_t old_word = word_of(packet, byte, ip->header_size, ip->size);
  flip(packet, byte, drawn_bit);
  const std::uint16_t checksum = u16(packet, transport->checksum_at);
  const bool is_udp = ip->protocol == protocol_udp;
  if (is_udp && checksum == 0) return true;
  std::uint16_t repaired = updated_checksum(checksum, old_word, word_of(packet, byte, ip->header_size, ip->size));
  if (is_udp && repaired == 0) repaired = 0xffff;
  set_u16(packet, transport->checksum_at, repaired);
  return true;
}

}  // namespace penstock::netem
