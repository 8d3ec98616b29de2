#pragma once

#include "common/time.h"
#include "tests/sim/random_case.h"

namespace penstock::sim {

/// Latest acceptable finish of all lanes of a random case, counted from the start; `ideal` is Scenario::ideal_finish's.
/// A sum of terms that each have a reason (README.md, "What is bounded"), and a quarter of it again.
[[nodiscard]] Duration completion_bound(const RandomCase& random, Duration ideal);

/// What `bbr` takes without bad luck, on a path that stays what it is: 5/4 of the ideal, and eight exchanges for the
/// start and the last repeats. Bad luck is what most of the bound above is there for, so that a transfer may take
/// several times as long as it should and still be within; of many transfers, few may.
[[nodiscard]] Duration usual_time(const RandomCase& random, Duration ideal);

}  // namespace penstock::sim
