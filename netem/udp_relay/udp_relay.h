#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "common/unique_fd.h"
#include "netem/link_model.h"
#include "netem/link_words.h"
#include "netem/udp_relay/flight_queue.h"
#include "netem/udp_relay/socket_address.h"

namespace penstock::netem {

struct RelayConfig {
  SocketAddress listen;  // port 0: the kernel's choice
  SocketAddress target;
  LinkSettings to_target;
  LinkSettings to_client;
  std::uint64_t seed = 1;
  std::vector<LinkChange> changes = {};  // both directions; counted from the first datagram of a client
  std::vector<Duration> rebinds = {};    // likewise: when the target sees all clients come from other ports
};

/// Relays UDP datagrams between any number of clients and one target through a modelled link, in user space, for
/// tests that want a bad network between two real programs and may not touch the machine's own.
/// All clients share the two directions of one link. Each client address has an upstream socket of its own, so the
/// target sees one peer per client. As a NAT that forgets does, a rebind gives each client another one: what the target
/// sends to the old port is lost from then on.
/// Bound: 1024 clients (the one idle longest makes room), 256 MiB in flight. Threads: one. Time: CLOCK_MONOTONIC.
class UdpRelay {
 public:
  /// Binds. Errors name the address and the reason.
  static Result<std::unique_ptr<UdpRelay>> open(const RelayConfig& config);
  ~UdpRelay();

  [[nodiscard]] const SocketAddress& local_address() const { return local_; }
  /// Relays until SIGTERM or SIGINT; SIGUSR1 prints counters() on stdout. The caller blocks these three signals before.
  Status run();
  /// One JSON object: both directions' LinkCounters and the relay's own drops.
  [[nodiscard]] std::string counters() const;

 private:
  struct Inbox;

  UdpRelay(const RelayConfig& config, UniqueFd listener, const SocketAddress& local);
  Status set_up();
  void handle_signal();
  void receive_from_clients(TimePoint now);
  void receive_from_target(TimePoint now, std::shared_ptr<Flow> flow);
  std::shared_ptr<Flow> flow_of(const SocketAddress& client, TimePoint now);
  void forget_idlest_flow();
  void apply_changes(TimePoint now);
  void rebind(TimePoint now);
  void deliver_due(TimePoint now);
  void arm_timer();

  RelayConfig config_;
  LinkModel to_target_;
  LinkModel to_client_;
  FlightQueue in_flight_;
  SocketAddress local_;
  UniqueFd listener_;
  UniqueFd epoll_;
  UniqueFd timer_;
  UniqueFd signals_;
  std::unique_ptr<Inbox> inbox_;
  std::map<SocketAddress, std::shared_ptr<Flow>> flows_;
  std::map<int, std::shared_ptr<Flow>> flows_by_socket_;
  std::optional<TimePoint> first_datagram_at_;
  std::size_t changes_done_ = 0;
  std::size_t rebinds_done_ = 0;
  std::optional<TimePoint> timer_at_;
  bool stopping_ = false;
  std::uint64_t send_failures_ = 0;
  std::uint64_t listener_drops_ = 0;
  std::uint64_t flows_refused_ = 0;
  std::uint64_t closed_flow_drops_ = 0;
};

}  // namespace penstock::netem
