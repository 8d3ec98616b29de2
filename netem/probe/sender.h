#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/result.h"
#include "common/time.h"
#include "common/units.h"
#include "netem/udp_relay/socket_address.h"

namespace penstock::netem::probe {

struct SendConfig {
  SocketAddress to;
  std::optional<SocketAddress> bind;  // of the same family
  DataRate rate;                      // IP bytes
  std::uint64_t count = 0;            // datagrams; 1 to Measurement::total_max
  std::uint64_t size = 1500;          // IP bytes of each
  std::uint32_t segments = 1;         // datagrams that one call hands to the kernel (UDP_SEGMENT)
};

/// What the options must be for `size` and `segments`, which depend on the address family. Errors are USAGE.
Status check(const SendConfig& config);

/// Sends by an absolute timetable, then says how many there were, many times over. SIGTERM and SIGINT (whose handler is
/// set here) end it early, with a true count. Returns the `sent` line. Requires: check(config).
Result<std::string> send_run(const SendConfig& config);

}  // namespace penstock::netem::probe
