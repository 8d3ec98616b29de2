#pragma once

#include <cstdint>

#include "common/time.h"
#include "tests/sim/path_lab.h"

namespace penstock::sim {

/// One cell of a table: a flow of so many bytes as the path carries in a given time, alone.
struct PathCell {
  /// Ideal time / time taken, as DESIGN section 5 has it, but with five round trips instead of ten and 0.1 s, for there
  /// is no handshake here: bytes / (rate x (1 - loss) x payload share) + 5 RTT.
  std::uint64_t efficiency_per_mille = 0;
  /// Bytes sent beyond what the path's own loss explains, half a bandwidth-delay product for the start excluded.
  std::uint64_t waste_per_mille = 0;
  /// What waited at the bottleneck, half of the time at least, of a bandwidth-delay product.
  std::uint64_t queue_median_per_mille = 0;
  /// From sending the last new byte to the arrival of all, in thousandths of a round trip.
  std::uint64_t tail_milli_rtt = 0;
  bool complete = false;
  FlowOutcome flow;
};

/// `length`: how long the bottleneck takes for the bytes.
[[nodiscard]] PathCell measure_path(const PathOptions& options, FlowPlan plan, Duration length);

}  // namespace penstock::sim
