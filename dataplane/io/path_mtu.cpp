#include "dataplane/io/path_mtu.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>

#include "common/unique_fd.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::io {
namespace {

constexpr std::size_t udp_header_size = 8;    // RFC 768
constexpr std::size_t ipv4_header_size = 20;  // RFC 791, without options
constexpr std::size_t ipv6_header_size = 40;  // RFC 8200, without extension headers

}  // namespace

std::size_t ip_overhead(const Endpoint& to) {
  return udp_header_size + (to.is_v4() ? ipv4_header_size : ipv6_header_size);
}

Result<std::size_t> udp_payload_towards(const Endpoint& to, std::size_t mtu_cap) {
  const auto no_route = [&](int error) { return error_from_errno(error, "find a route to", to.address_string()); };
  sockaddr_storage address{};
  const socklen_t length = to.to_sockaddr(address);
  const UniqueFd probe{::socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP)};
  if (!probe) return no_route(errno);
  // Connecting a UDP socket sends nothing; it looks the route up, and the route knows its interface.
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) return no_route(errno);

  int mtu = 0;
  socklen_t mtu_length = sizeof mtu;
  const bool v4 = to.is_v4();
  if (::getsockopt(probe.get(), v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu, &mtu_length) != 0) {
    return no_route(errno);
  }
  const std::size_t packet = std::min(static_cast<std::size_t>(std::max(mtu, 0)), mtu_cap);
  const std::size_t payload = packet - std::min(packet, ip_overhead(to));
  // The kernel's number may have been lowered by an ICMP message that anybody can send: it never goes below the size
  // that every path is taken to carry.
  return std::clamp(payload, engine::udp_payload_min, engine::udp_payload_limit);
}

}  // namespace penstock::io
