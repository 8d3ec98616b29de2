#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "common/time.h"

namespace penstock::io {

/// What makes a worker's sockets fast, as it stands: said in the daemon's log and by `penstock ping -v`.
struct FastPaths {
  bool gso = false;  // the kernel cuts batches into datagrams / hands runs of datagrams over as one, on every socket
  bool gro = false;
  // Bytes of one socket, the smallest granted; as net.core.[rw]mem_max counts them, which is half of what getsockopt
  // says.
  std::size_t receive_buffer_asked = 0;
  std::size_t receive_buffer = 0;
  std::size_t send_buffer_asked = 0;
  std::size_t send_buffer = 0;
  std::size_t workers = 1;
  bool steered = false;  // of several workers: the kernel picks the socket by connection id
  Duration busy_poll{};
};

/// One word each, in a fixed order; what is off is not there: "udp_segment", "udp_gro", "workers=2", "steering=bpf",
/// "receive_buffer=8MiB", "send_buffer=8MiB", "busy_poll=50us".
[[nodiscard]] std::vector<std::string> words_of(const FastPaths& paths);

/// What to do when the kernel grants less than three quarters of what was asked; nullopt when it does not.
[[nodiscard]] std::optional<std::string> buffer_hint(const FastPaths& paths);

}  // namespace penstock::io
