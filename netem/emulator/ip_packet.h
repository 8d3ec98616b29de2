#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace penstock::netem {

/// An IPv6 address, or an IPv4 one as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that one table holds both.
using IpAddress = std::array<std::uint8_t, 16>;

/// Where the parts of an IP packet lie. Source: RFC 791, RFC 8200.
struct IpLayout {
  IpAddress destination{};
  std::size_t header_size = 0;  // of the IP header; extension headers of IPv6 are not followed
  std::size_t size = 0;         // of the whole packet as its header tells it
  std::uint8_t protocol = 0;    // what comes next: 6 TCP, 17 UDP, an IPv6 extension header...
  bool later_fragment = false;  // IPv4: no transport header inside
};

/// Reads the IP header; nullopt for what is no whole IPv4 or IPv6 packet. Bytes beyond its own length are not its.
std::optional<IpLayout> read_ip_layout(std::span<const std::byte> packet);

}  // namespace penstock::netem
