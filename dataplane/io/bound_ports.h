#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/result.h"
#include "dataplane/io/endpoint.h"
#include "dataplane/io/udp_socket.h"

namespace penstock::io {

/// Whether the kernel is told which worker's socket a datagram is for (`steering.h`). Off: it picks by the addresses,
/// and workers hand strays on. For tests, and for kernels whose program would be wrong.
enum class UdpSteering : std::uint8_t { automatic, off };

/// The sockets of all workers of a group.
struct BoundPorts {
  std::vector<std::vector<UdpSocket>> of_worker;  // each in the order of the addresses
  bool steered = false;                           // the kernel picks the socket by connection id, on every address
  std::string trouble;  // why there are fewer workers than asked for, or no steering; or empty
};

/// Binds one socket a worker for each of `listen`, all workers' on the same port. No other process can have bound it
/// before; those of the same user and with SO_REUSEPORT can join it afterwards, and get nothing while the group is
/// steered. A kernel that does not let sockets share a port leaves one worker.
/// `bind_companion`: as WorkerConfig's. Error: IO_ERROR naming the address. Requires: listen is not empty.
Result<BoundPorts> bind_ports(const std::vector<Endpoint>& listen,
                              const std::function<bool(const Endpoint& bound)>& bind_companion,
                              const UdpSocketOptions& options, std::size_t workers, UdpSteering steering);

}  // namespace penstock::io
