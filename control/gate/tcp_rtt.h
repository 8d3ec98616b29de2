#pragma once

#include <asio/ip/tcp.hpp>
#include <optional>

#include "common/time.h"

namespace penstock::control {

/// The kernel's estimate of a connection's round trip, from its handshake on; nullopt: it has none.
std::optional<Duration> tcp_rtt_of(asio::ip::tcp::socket& socket);

}  // namespace penstock::control
