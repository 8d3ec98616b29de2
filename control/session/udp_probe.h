#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "common/time.h"
#include "control/session/async_event.h"
#include "control/session/lane_setup.h"
#include "dataplane/io/worker.h"

namespace penstock::control {

/// How far a probe goes.
struct ProbePlan {
  Duration echo_patience{};
  std::uint64_t bulk_bytes = 0;  // the daemon takes that many; 0: no rate and no loss are measured
  Duration bulk_patience{};
  std::optional<DataRate> rate_cap = std::nullopt;  // the server's, in IP bytes
};

/// What a probe found out about the way to the daemon's UDP port and back.
struct ProbeResult {
  bool reachable = false;
  std::optional<Duration> rtt;           // the shortest
  std::optional<Duration> rtt_smoothed;  // at the end
  std::size_t largest_payload = 0;       // UDP payload of the largest datagram that came through; 0: none did
  engine::PathReport path;               // what bulk revealed, as far as it went
  engine::EcnState ecn = engine::EcnState::off;
  engine::EcnFault ecn_fault = engine::EcnFault::none;
};

/// Client: sends a CONTROL message over a lane without files, waits for its echo, and for the search for the largest
/// datagram (engine/path); then measures rate and loss with bytes that nobody keeps (engine/congestion/path_meter.h).
/// Ends by itself after both patiences at the latest, and earlier when the daemon lets go.
/// Consumes the lane's keys. The worker is the caller's and outlives the call.
asio::awaitable<ProbeResult> async_probe_udp(io::Worker& worker, engine::LaneKeys keys, io::Endpoint peer,
                                             LanePath path, ProbePlan plan);

/// Daemon: sends every CONTROL message of this lane back, and throws away as many bytes as `bulk_bytes` says, until
/// remove(own).
void start_probe_echo(io::Worker& worker, engine::LaneKeys keys, const LanePath& path, std::uint64_t bulk_bytes);

}  // namespace penstock::control
