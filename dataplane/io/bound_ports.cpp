#include "dataplane/io/bound_ports.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "dataplane/io/steering.h"

namespace penstock::io {
namespace {

/// The others' sockets beside the first one's. Bound worker by worker: the kernel numbers a group's sockets in the
/// order in which they joined, and the program answers with that number.
Status join_first(BoundPorts& ports, const UdpSocketOptions& options) {
  UdpSocketOptions joining = options;
  joining.reuse_port = true;
  for (UdpSocket& first : ports.of_worker.front()) {
    if (auto shared = first.share_port(); !shared) return shared;
  }
  for (std::size_t worker = 1; worker < ports.of_worker.size(); ++worker) {
    for (const UdpSocket& first : ports.of_worker.front()) {
      auto socket = UdpSocket::bind(first.local(), joining);
      if (!socket.ok()) return std::move(socket).error();
      ports.of_worker[worker].push_back(std::move(socket).value());
    }
  }
  return {};
}

}  // namespace

Result<BoundPorts> bind_ports(const std::vector<Endpoint>& listen,
                              const std::function<bool(const Endpoint& bound)>& bind_companion,
                              const UdpSocketOptions& options, std::size_t workers, UdpSteering steering) {
  PENSTOCK_CHECK(!listen.empty() && workers > 0);
  BoundPorts ports;
  ports.of_worker.resize(1);
  for (const Endpoint& local : listen) {
    // Without SO_REUSEPORT: whoever has the port already keeps it, and we hear of it.
    auto socket = bind_with_companion(local, options, bind_companion);
    if (!socket.ok()) return std::move(socket).error();
    ports.of_worker.front().push_back(std::move(socket).value());
  }
  if (workers == 1) return ports;

  ports.of_worker.resize(workers);
  if (auto joined = join_first(ports, options); !joined) {
    ports.of_worker.resize(1);
    ports.trouble = joined.error().message;
    return ports;
  }
  if (steering == UdpSteering::off) return ports;
  ports.steered = true;
  for (const UdpSocket& socket : ports.of_worker.front()) {
    if (auto attached = attach_steering(socket.fd(), workers); !attached) {
      ports.steered = false;
      ports.trouble = attached.error().message;
    }
  }
  return ports;
}

}  // namespace penstock::io
