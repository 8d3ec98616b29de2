#pragma once

#include <cstdint>

#include "common/time.h"
#include "common/units.h"
#include "tests/sim/path_lab.h"

namespace penstock::sim {

/// A path whose bottleneck is a policer: behind it there is ten times as much, so nothing waits.
struct PolicedPath {
  Duration rtt = std::chrono::milliseconds{40};
  DataRate rate = DataRate::megabits_per_second(100);
  std::uint64_t burst_percent = 25;  // of a bandwidth-delay product of `rate`
};

/// Of what the policer's rate carries of file bytes.
struct PolicedShares {
  std::uint64_t one_per_mille = 0;
  std::uint64_t other_per_mille = 0;
  std::uint64_t other_least = 0;  // of the beginnings, likewise
  std::uint64_t other_most = 0;
};

/// What two flows get in the minute after the second of them has begun: the mean of so many beginnings, each with `one`
/// first and with `other` first.
[[nodiscard]] PolicedShares share_policer(const PolicedPath& path, const FlowPlan& one, const FlowPlan& other,
                                          std::uint64_t beginnings = 3);

}  // namespace penstock::sim
