#include "dataplane/engine/lane/offload_budget.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace penstock::engine {
namespace {

using namespace std::chrono_literals;

const DataRate fast = DataRate::megabits_per_second(100'000);

RttEstimator path_of(Duration rtt) {
  RttEstimator estimator{rtt};
  estimator.on_sample(rtt, {});
  return estimator;
}

TEST_CASE("offload budget: what leaves between two acknowledgements of a short path, and 512 KiB at most") {
  const OffloadBudget budget{1};
  const RttEstimator rtt = path_of(80us);
  // 0.5 ms less an eighth of the round trip, at 1 Gbit/s.
  CHECK(budget.bytes(rtt, DataRate::megabits_per_second(1'000)) == 61'250);
  CHECK(budget.bytes(rtt, fast) == 512 * KiB);
}

TEST_CASE("offload budget: none on a path that was not measured, and none from 4 ms on") {
  const OffloadBudget budget{1};
  CHECK(budget.bytes(RttEstimator{80us}, fast) == 0);
  CHECK(budget.bytes(path_of(4ms), fast) == 0);
}

TEST_CASE("offload budget: lanes that share a receiver share it") {
  const RttEstimator rtt = path_of(80us);
  CHECK(OffloadBudget{4}.bytes(rtt, fast) == 128 * KiB);
  CHECK(OffloadBudget{64}.bytes(rtt, fast) == 16 * KiB);
}

TEST_CASE("offload budget: the drops of one flight halve it once, those of the next again") {
  OffloadBudget budget{1};
  const RttEstimator rtt = path_of(80us);
  TimePoint now{10s};
  CHECK(budget.on_receiver_drops(now, 3, rtt) == 3);
  CHECK(budget.bytes(rtt, fast) == 256 * KiB);
  CHECK(budget.on_receiver_drops(now += 100us, 5, rtt) == 2);
  CHECK(budget.bytes(rtt, fast) == 256 * KiB);
  CHECK(budget.on_receiver_drops(now += 500us, 6, rtt) == 1);
  CHECK(budget.bytes(rtt, fast) == 128 * KiB);
}

TEST_CASE("offload budget: a total that did not grow is no drop, and one that shrinks neither") {
  OffloadBudget budget{1};
  const RttEstimator rtt = path_of(80us);
  CHECK(budget.on_receiver_drops(TimePoint{10s}, 3, rtt) == 3);
  CHECK(budget.on_receiver_drops(TimePoint{10s} + 5ms, 3, rtt) == 0);
  CHECK(budget.on_receiver_drops(TimePoint{10s} + 10ms, 1, rtt) == 0);
  CHECK(budget.bytes(rtt, fast) == 256 * KiB);
}

TEST_CASE("offload budget: a second without drops doubles it, even from nothing, up to what it was") {
  OffloadBudget budget{1};
  const RttEstimator rtt = path_of(80us);
  TimePoint now{10s};
  std::uint32_t total = 0;
  while (budget.bytes(rtt, fast) > 0) (void)budget.on_receiver_drops(now += 1ms, ++total, rtt);
  CHECK(budget.drops_recent(now));
  CHECK(budget.on_receiver_drops(now + 999ms, total, rtt) == 0);
  CHECK(budget.bytes(rtt, fast) == 0);
  std::uint64_t expected = 16 * KiB;
  for (int second = 0; second < 8; ++second) {
    (void)budget.on_receiver_drops(now += 1s, total, rtt);
    CHECK(budget.bytes(rtt, fast) == expected);
    expected = std::min<std::uint64_t>(2 * expected, 512 * KiB);
  }
  CHECK(!budget.drops_recent(now));
}

}  // namespace
}  // namespace penstock::engine
