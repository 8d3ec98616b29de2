#pragma once

#include <asio/steady_timer.hpp>
#include <memory>

#include "control/proto/gate.pb.h"
#include "control/server/daemon_state.h"
#include "control/session/lane_setup.h"

namespace penstock::control {

/// The daemon's half of `ping`: a session's lane that sends CONTROL messages back, and takes bytes that nobody keeps
/// where the client asks for that. It needs no grant, since nothing of the served tree is touched.
/// Bound: one a session; bulk counts as a transfer (transfers_max), obeys the server's rate cap, ends after
/// `probe_bytes_max` and `probe_time_max`. Threads: the control thread.
/// Lifetime: its session ends it before letting go. What a daemon that goes away leaves in suspended coroutines is
/// destroyed after the parts of DaemonState that end() reaches for, so the destructor gives back the place alone.
class ProbeGuest : public std::enable_shared_from_this<ProbeGuest> {
 public:
  ProbeGuest(DaemonState& state, ConnectionId own) : state_(state), own_(own), time_is_up_(state.io) {}
  ~ProbeGuest() = default;
  ProbeGuest(const ProbeGuest&) = delete;
  ProbeGuest& operator=(const ProbeGuest&) = delete;

  /// Opens the lane; gives the answer to the client. Once.
  proto::Envelope open(const proto::OpenProbe& open, engine::LaneKeys keys, const LanePath& path);
  /// Lets go of the lane at once, with a goodbye. More than once is harmless.
  void end();

 private:
  DaemonState& state_;
  ConnectionId own_;
  asio::steady_timer time_is_up_;
  bool lane_open_ = false;
  TransferPlace place_;  // of a bulk probe
};

// Tuning: what loopback takes in half a second, and what a modem of 1 Mbit/s with seconds of queue needs.
inline constexpr std::uint64_t probe_bytes_max = 4 * GiB;
inline constexpr Duration probe_time_max = std::chrono::seconds{6};
inline constexpr int probe_round_trips_max = 16;  // in addition
inline constexpr Duration probe_rtt_max = std::chrono::seconds{1};

}  // namespace penstock::control
