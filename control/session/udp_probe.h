#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <cstddef>
#include <memory>
#include <optional>

#include "common/time.h"
#include "control/session/async_event.h"
#include "control/session/lane_setup.h"
#include "dataplane/io/worker.h"

namespace penstock::control {

/// What a probe found out about the way to the daemon's UDP port and back.
struct ProbeResult {
  bool reachable = false;
  std::optional<Duration> rtt;
  std::size_t largest_payload = 0;  // UDP payload of the largest datagram that came through
};

/// Client: sends CONTROL messages of two sizes over a lane without data, and waits for their echo, `patience` at most.
/// Consumes the lane's keys. The worker is the caller's and outlives the call.
asio::awaitable<ProbeResult> async_probe_udp(io::Worker& worker, engine::LaneKeys keys, io::Endpoint peer,
                                             LanePath path, Duration patience);

/// Daemon: sends every CONTROL message of this lane back, until remove(own).
void start_probe_echo(io::Worker& worker, engine::LaneKeys keys, const LanePath& path);

}  // namespace penstock::control
