#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/lane.h"
#include "tests/sim/scenario.h"

namespace penstock::sim {

/// One random network with one to three random transfers on it.
struct RandomCase {
  Options options;
  std::vector<LanePlan> plans;
};

/// Bytes that leave before the first acknowledgement.
[[nodiscard]] std::uint64_t first_window_of(const Options& options);

/// Everything follows from the seed. Sizes, round trips and rates are log-uniform; each kind of trouble is off in most
/// cases, so that every pair of them meets and none hides the others.
[[nodiscard]] RandomCase make_random_case(std::uint64_t seed);
[[nodiscard]] std::string_view name_of(engine::Congestion congestion);
/// All parameters, to be read beside a failure.
[[nodiscard]] std::string describe(const RandomCase& random);

}  // namespace penstock::sim
