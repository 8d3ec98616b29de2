#pragma once

#include <chrono>
#include <ctime>

#include "common/time.h"

namespace penstock::netem {

/// CLOCK_MONOTONIC, the time of every driver of this room. The models never read it; they are told.
inline TimePoint monotonic_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return TimePoint{std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec}};
}

}  // namespace penstock::netem
