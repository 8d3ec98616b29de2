#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock::netem {

/// The Internet checksum of data of which one 16-bit word has changed. Source: RFC 1624 section 3, equation 3.
[[nodiscard]] std::uint16_t updated_checksum(std::uint16_t checksum, std::uint16_t old_word, std::uint16_t new_word);

/// Where the damage of a link is stopped.
enum class CorruptReach : std::uint8_t {
  kernel,       // the checksum is left wrong, as on a real wire, so the receiver's kernel drops the packet
  application,  // the checksum is repaired, so the damage reaches the program
};

/// Flips one bit of an IP packet, never of its IP header. `drawn_bit` is uniform over the bits of the whole packet and
/// is mapped onto the part that is damaged: under `kernel` all behind the IP header; under `application` the payload of
/// UDP or TCP, whose checksum is then repaired (a UDP checksum of zero means none and stays, one that comes out as
/// zero is sent as 0xffff: RFC 768). What has no such payload, or no transport header (IPv4's later fragments, IPv6
/// extension headers), fares as under `kernel`. A packet without anything behind its IP header stays whole: false.
/// Requires: drawn_bit < 8 x packet.size().
bool flip_bit(std::span<std::byte> packet, std::uint64_t drawn_bit, CorruptReach reach);

}  // namespace penstock::netem
