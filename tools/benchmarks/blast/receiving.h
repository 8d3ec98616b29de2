#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "common/result.h"
#include "dataplane/io/endpoint.h"
#include "tools/benchmarks/blast/terms.h"

namespace penstock::benchmarks {

struct BlastReceiveConfig {
  io::Endpoint listen;                // UDP and TCP; port 0 picks a number that is free for both
  std::optional<std::string> file{};  // made by us, and refused if it is there: fresh pages are part of the work
  bool gro = true;
};

struct BlastReceived {
  BlastTerms terms;
  BlastProgress end;
  std::uint64_t datagrams = 0;
  std::uint64_t runs = 0;      // messages from the kernel; with GRO one holds many datagrams
  std::uint64_t unusable = 0;  // datagrams that were none of ours, or not authentic
  std::uint64_t writes = 0;
  std::size_t receive_buffer = 0;  // as the kernel granted it
  bool gro = false;
};

/// Takes one blast on the calling thread: opens every datagram from the receive buffer straight to its place in a slab,
/// and writes each contiguous run of a slab by one pwrite. `announce` hears the address once it is bound.
/// A datagram that never comes is missed after 100 ms of silence that follow the sender's end.
[[nodiscard]] Result<BlastReceived> receive_blast(const BlastReceiveConfig& config,
                                                  const std::function<void(const io::Endpoint&)>& announce);

}  // namespace penstock::benchmarks
