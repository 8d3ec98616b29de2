#include "netem/probe/probe_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace penstock::netem::probe {

Result<UniqueFd> open_udp(int family) {
  UniqueFd fd{socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  if (!fd) return failed("open a UDP socket");
  constexpr int size = 64 * 1024 * 1024;
  for (const auto& [force, polite] : {std::pair{SO_RCVBUFFORCE, SO_RCVBUF}, std::pair{SO_SNDBUFFORCE, SO_SNDBUF}}) {
    if (setsockopt(fd.get(), SOL_SOCKET, force, &size, sizeof size) != 0) {
      setsockopt(fd.get(), SOL_SOCKET, polite, &size, sizeof size);
    }
  }
  return fd;
}

Error failed(std::string_view what) {
  const int reason = errno;
  return {ErrorCode::IO_ERROR, fmt::format("cannot {}: {}", what, std::strerror(reason))};
}

}  // namespace penstock::netem::probe
