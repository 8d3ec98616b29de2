#pragma once

#include <chrono>

namespace penstock {

/// The clock of everything that decides: it has no now() on purpose (see P2212), so whoever needs the time is told it.
/// Origin: CLOCK_MONOTONIC in drivers, virtual zero in the simulator. Unit: nanoseconds.
struct MonotonicClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock, duration>;
  static constexpr bool is_steady = true;
};
using Duration = MonotonicClock::duration;
using TimePoint = MonotonicClock::time_point;

}  // namespace penstock
