#include "dataplane/io/path_mtu.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "common/unique_fd.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::io {
namespace {

constexpr std::size_t udp_header_size = 8;    // RFC 768
constexpr std::size_t ipv4_header_size = 20;  // RFC 791, without options
constexpr std::size_t ipv6_header_size = 40;  // RFC 8200, without extension headers

/// Of the interface that has the connected socket's own address.
std::optional<std::size_t> interface_mtu(int fd) {
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length) != 0) return std::nullopt;
  const auto address = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&own), length);
  ifaddrs* listed = nullptr;
  if (!address || ::getifaddrs(&listed) != 0) return std::nullopt;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> all{listed, &::freeifaddrs};
  for (const ifaddrs* entry = listed; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const socklen_t size = entry->ifa_addr->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    const auto candidate = Endpoint::from_sockaddr(entry->ifa_addr, size);
    if (!candidate || candidate->with_port(0) != address->with_port(0)) continue;
    ifreq request{};
    std::strncpy(request.ifr_name, entry->ifa_name, sizeof request.ifr_name - 1);
    if (::ioctl(fd, SIOCGIFMTU, &request) != 0 || request.ifr_mtu <= 0) return std::nullopt;
    return static_cast<std::size_t>(request.ifr_mtu);
  }
  return std::nullopt;
}

}  // namespace

std::size_t ip_overhead(const Endpoint& to) {
  return udp_header_size + (to.is_v4() ? ipv4_header_size : ipv6_header_size);
}

Result<std::size_t> udp_payload_towards(const Endpoint& to, std::optional<std::size_t> mtu_cap) {
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
  // That number may have been lowered by an ICMP message that anybody can send, so the interface's own is preferred.
  const std::size_t offered = interface_mtu(probe.get()).value_or(static_cast<std::size_t>(std::max(mtu, 0)));
  const std::size_t packet = std::min(offered, mtu_cap.value_or(offered >= mtu_of_no_wire ? mtu_usual : offered));
  const std::size_t payload = packet - std::min(packet, ip_overhead(to));
  return std::clamp(payload, engine::udp_payload_min, engine::udp_payload_limit);
}

}  // namespace penstock::io
