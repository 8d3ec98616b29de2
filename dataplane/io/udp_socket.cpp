#include "dataplane/io/udp_socket.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <optional>

#include <fmt/format.h>

namespace penstock::io {
namespace {

// Tuning: a number that UDP got and TCP does not get is rare; thirty-two in a row means that something else is wrong.
constexpr int companion_attempts_max = 32;

class KernelCalls final : public DatagramCalls {
 public:
  int send(int fd, mmsghdr* messages, unsigned count) override {
    return ::sendmmsg(fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  int receive(int fd, mmsghdr* messages, unsigned count) override {
    return ::recvmmsg(fd, messages, count, MSG_DONTWAIT, nullptr);
  }
};

bool set(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

std::size_t buffer_size(int fd, int option) {
  int value = 0;
  socklen_t length = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, option, &value, &length) != 0 || value < 0) return 0;
  return static_cast<std::size_t>(value);
}

/// The forcing variant first: it alone passes net.core.[rw]mem_max, and needs a privilege.
void ask_for_buffer(int fd, int forcing_option, int option, std::size_t bytes) {
  const int value = static_cast<int>(std::min<std::size_t>(bytes, std::numeric_limits<int>::max() / 2));
  if (!set(fd, SOL_SOCKET, forcing_option, value)) set(fd, SOL_SOCKET, option, value);
}

/// What works without is asked for and not insisted on; a socket that may fragment or hides where datagrams arrived
/// would break promises, so those count.
bool configure(int fd, int family, bool wildcard) {
  const int on = 1;
  set(fd, SOL_SOCKET, SO_RXQ_OVFL, on);
  // How datagrams were marked, on a dual-stack socket IPv4's too. Where that fails the peer is told of no marks.
  set(fd, IPPROTO_IP, IP_RECVTOS, on);
  if (family == AF_INET6) set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, on);
  if (family == AF_INET) {
    return set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE) &&
           (!wildcard || set(fd, IPPROTO_IP, IP_PKTINFO, on));
  }
  // On a dual-stack socket the IPv4 option governs IPv4 peers; IPV6_RECVPKTINFO reports both families.
  set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  return set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE) && set(fd, IPPROTO_IPV6, IPV6_DONTFRAG, on) &&
         (!wildcard || set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, on));
}

Error cannot_bind(const Endpoint& local, int error) { return error_from_errno(error, "bind udp", local.to_string()); }

}  // namespace

DatagramCalls& DatagramCalls::kernel() {
  static KernelCalls calls;
  return calls;
}

Result<UdpSocket> UdpSocket::bind(const Endpoint& local, const UdpSocketOptions& options) {
  const int family = local.is_v4() ? AF_INET : AF_INET6;
  UdpSocket out;
  out.fd_ = UniqueFd{::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP)};
  if (!out.fd_) {
    const int error = errno;
    if (error == EAFNOSUPPORT && family == AF_INET6 && local.is_wildcard()) {
      return bind(Endpoint::v4({0, 0, 0, 0}, local.port()), options);
    }
    return cannot_bind(local, error);
  }
  const int fd = out.fd_.get();
  if (family == AF_INET6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, local.is_wildcard() ? 0 : 1)) {
    return cannot_bind(local, errno);
  }
  if (options.reuse_port && !set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return cannot_bind(local, errno);
  if (!configure(fd, family, local.is_wildcard())) return cannot_bind(local, errno);
  ask_for_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options.receive_buffer);
  ask_for_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options.send_buffer);
  // A segment size of 0 means none; the kernel that takes the option can cut batches.
  out.gso_ = options.gso && set(fd, SOL_UDP, UDP_SEGMENT, 0);
  out.gro_ = options.gro && set(fd, SOL_UDP, UDP_GRO, 1);

  sockaddr_storage address{};
  const socklen_t length = local.to_sockaddr(address);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), length) != 0) return cannot_bind(local, errno);

  socklen_t bound_length = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bound_length) != 0) return cannot_bind(local, errno);
  const auto bound = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&address), bound_length);
  PENSTOCK_CHECK(bound.has_value());
  out.family_ = family;
  out.local_ = *bound;
  out.receive_buffer_ = buffer_size(fd, SO_RCVBUF);
  out.send_buffer_ = buffer_size(fd, SO_SNDBUF);
  out.calls_ = options.calls;
  return out;
}

Status UdpSocket::share_port() {
  // After binding, so that the port was ours alone until now; the kernel makes the group when the second socket joins.
  if (!set(fd_.get(), SOL_SOCKET, SO_REUSEPORT, 1)) return error_from_errno(errno, "share udp", local_.to_string());
  return {};
}

bool UdpSocket::reaches(const Endpoint& peer) const {
  if (family_ == AF_INET) return peer.is_v4();
  return !peer.is_v4() || local_.is_wildcard();
}

Result<UdpSocket> bind_with_companion(const Endpoint& local, const UdpSocketOptions& options,
                                      const std::function<bool(const Endpoint& bound)>& bind_companion) {
  for (int attempt = 0; attempt < companion_attempts_max; ++attempt) {
    auto socket = UdpSocket::bind(local, options);
    if (!socket.ok() || local.port() != 0 || !bind_companion || bind_companion(socket->local())) return socket;
  }
  return Error{ErrorCode::IO_ERROR,
               fmt::format("cannot bind {}: no port number is free for both TCP and UDP", local.to_string())};
}

}  // namespace penstock::io
