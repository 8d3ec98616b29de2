#include "tools/benchmarks/blast/side_channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace penstock::benchmarks {
namespace {

Error failed(std::string_view doing, std::string_view what = {}) { return error_from_errno(errno, doing, what); }

void hurry(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

Result<UniqueFd> SideChannel::listen(const io::Endpoint& local) {
  sockaddr_storage address{};
  const socklen_t length = local.to_sockaddr(address);
  UniqueFd fd{::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const int on = 1;
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 || ::listen(fd.get(), 1) != 0) {
    return failed("bind tcp", local.to_string());
  }
  return fd;
}

Result<SideChannel> SideChannel::accept(const UniqueFd& listener) {
  for (;;) {
    UniqueFd fd{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    if (!fd && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (!fd) return failed("accept a connection");
    hurry(fd.get());
    return SideChannel{std::move(fd)};
  }
}

Result<SideChannel> SideChannel::connect(const io::Endpoint& to) {
  sockaddr_storage address{};
  const socklen_t length = to.to_sockaddr(address);
  UniqueFd fd{::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    return failed("connect to", to.to_string());
  }
  hurry(fd.get());
  return SideChannel{std::move(fd)};
}

Status SideChannel::send(std::span<const std::byte> message) {
  while (!message.empty()) {
    const ssize_t sent = ::send(fd_.get(), message.data(), message.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return failed("tell the other end");
    message = message.subspan(static_cast<std::size_t>(sent));
  }
  return {};
}

Status SideChannel::receive(std::span<std::byte> message) {
  while (!message.empty()) {
    const ssize_t got = ::recv(fd_.get(), message.data(), message.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("hear the other end");
    if (got == 0) return Error{ErrorCode::IO_ERROR, "the other end hung up"};
    message = message.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

Result<bool> SideChannel::readable(std::chrono::milliseconds patience) const {
  pollfd watched{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  for (;;) {
    const int ready = ::poll(&watched, 1, static_cast<int>(patience.count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return failed("wait for the other end");
    return ready > 0;
  }
}

}  // namespace penstock::benchmarks
