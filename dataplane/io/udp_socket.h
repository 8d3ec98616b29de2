#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <functional>

#include "common/result.h"
#include "common/unique_fd.h"
#include "common/units.h"
#include "dataplane/io/endpoint.h"

namespace penstock::io {

/// The two system calls on the data path, as a seam: tests make the kernel refuse, block or lack something.
/// Contract of sendmmsg(2) and recvmmsg(2) with MSG_DONTWAIT: a count, or -1 with errno. Threads: as the socket.
class DatagramCalls {
 public:
  virtual ~DatagramCalls() = default;
  virtual int send(int fd, mmsghdr* messages, unsigned count) = 0;
  virtual int receive(int fd, mmsghdr* messages, unsigned count) = 0;
  /// The kernel's own; lives for ever.
  static DatagramCalls& kernel();
};

struct UdpSocketOptions {
  // Asked for; the kernel clamps to net.core.[rw]mem_max unless the process may force it (CAP_NET_ADMIN). A receive
  // buffer holds what arrives while the worker does something else: 8 MiB is about 6 ms at 10 Gbit/s.
  std::size_t receive_buffer = 8 * MiB;
  std::size_t send_buffer = 8 * MiB;
  bool gso = true;                                  // false: never try UDP_SEGMENT
  bool gro = true;                                  // false: never ask for UDP_GRO
  bool reuse_port = false;                          // join sockets that share their port (share_port)
  DatagramCalls* calls = &DatagramCalls::kernel();  // borrowed; outlives the socket
};

/// The local address a datagram arrived at, so that the answer can leave from the same one: a wildcard socket on a host
/// with several addresses would else answer from one that the peer never wrote to.
struct LocalAddress {
  Endpoint address;             // port 0
  std::uint32_t interface = 0;  // index; used for link-local addresses alone
  bool operator==(const LocalAddress&) const = default;
};

/// One bound, non-blocking UDP socket: the descriptor with its options, nothing else. Don't-fragment is set, the
/// kernel's idea of the path MTU is ignored (IP_PMTUDISC_PROBE: ICMP must not steer us, PROTOCOL section 2) and ICMP
/// errors are not reported. `[::]` and IPv6 wildcards are dual stack. Never connected.
/// Threads: one owner. Not copyable; closes on destruction.
class UdpSocket {
 public:
  /// Port 0: the kernel picks. `[::]` on a host without IPv6 becomes 0.0.0.0. Error: IO_ERROR, "cannot bind udp
  /// ADDRESS: REASON" (a daemon makes exit 3 of it, CLI.md section 5).
  static Result<UdpSocket> bind(const Endpoint& local, const UdpSocketOptions& options = {});

  /// From now on sockets of the same user with `reuse_port` may bind the same address (SO_REUSEPORT). Error: IO_ERROR.
  Status share_port();
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// AF_INET or AF_INET6.
  [[nodiscard]] int family() const { return family_; }
  [[nodiscard]] const Endpoint& local() const { return local_; }
  [[nodiscard]] bool reaches(const Endpoint& peer) const;
  /// The kernel cuts batches into datagrams for us / hands runs of datagrams over as one. Decided at bind.
  [[nodiscard]] bool gso() const { return gso_; }
  [[nodiscard]] bool gro() const { return gro_; }
  /// Bytes of buffer that the kernel granted (its own bookkeeping included, as getsockopt reports it).
  [[nodiscard]] std::size_t receive_buffer() const { return receive_buffer_; }
  [[nodiscard]] std::size_t send_buffer() const { return send_buffer_; }
  [[nodiscard]] DatagramCalls& calls() const { return *calls_; }

 private:
  UdpSocket() = default;
  UniqueFd fd_;
  int family_ = 0;
  Endpoint local_;
  bool gso_ = false;
  bool gro_ = false;
  std::size_t receive_buffer_ = 0;
  std::size_t send_buffer_ = 0;
  DatagramCalls* calls_ = &DatagramCalls::kernel();
};

/// Binds UDP at `local`; where its port is 0, `bind_companion` is then asked to take the same number (for TCP: CLI.md,
/// "port 0 picks one number free for TCP and UDP"). False from it: another number is tried, 32 times at most.
Result<UdpSocket> bind_with_companion(const Endpoint& local, const UdpSocketOptions& options,
                                      const std::function<bool(const Endpoint& bound)>& bind_companion);

}  // namespace penstock::io
