#pragma once

#include "common/time.h"
#include "tests/sim/random_case.h"

namespace penstock::sim {

/// Latest acceptable finish of all lanes of a random case, counted from the start; `ideal` is Scenario::ideal_finish's.
/// A sum of terms that each have a reason (README.md, "What is bounded"), and a quarter of it again.
[[nodiscard]] Duration completion_bound(const RandomCase& random, Duration ideal);

}  // namespace penstock::sim
