#pragma once

#include <functional>
#include <string>

#include "common/result.h"
#include "common/time.h"
#include "netem/udp_relay/socket_address.h"

namespace penstock::netem::probe {

struct ReceiveConfig {
  SocketAddress listen;
  Duration wait = std::chrono::seconds{30};   // for the first datagram
  Duration idle = std::chrono::seconds{5};    // without any, once one came
  Duration linger = std::chrono::seconds{1};  // after the sender's last word
};

/// Measures one run and returns the `result` line. `on_ready` is told the address once the socket is bound.
/// Requires: SIGTERM and SIGINT are blocked; they end the run with its result.
Result<std::string> receive_run(const ReceiveConfig& config, const std::function<void(const SocketAddress&)>& on_ready);

}  // namespace penstock::netem::probe
