#pragma once

#include "common/time.h"

namespace penstock::io {

/// CLOCK_MONOTONIC. Drivers read it once per batch and tell the engines; nobody else needs it.
TimePoint monotonic_now();

}  // namespace penstock::io
