#include "control/gate/tcp_rtt.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <chrono>

namespace penstock::control {

std::optional<Duration> tcp_rtt_of(asio::ip::tcp::socket& socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || info.tcpi_rtt == 0)
    return std::nullopt;
  return std::chrono::microseconds{info.tcpi_rtt};
}

}  // namespace penstock::control
