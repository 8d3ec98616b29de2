#include "dataplane/io/lane_placement.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "common/random.h"

namespace penstock::io {
namespace {

using namespace std::chrono_literals;

/// A placement with a clock and a seed of its own.
struct Placement {
  explicit Placement(std::size_t workers, std::uint64_t seed = 1)
      : rng(seed), lanes(workers, [this] { return rng.next(); }) {}
  Rng rng;
  LanePlacement lanes;
  TimePoint now{};

  ConnectionId reserve() { return lanes.reserve(now); }
  ConnectionId run() {
    const ConnectionId id = reserve();
    lanes.on_lane(id);
    return id;
  }
};

}  // namespace

TEST_CASE("lane placement: clients that come together are spread evenly, before any has a lane") {
  Placement at{4};
  std::vector<std::size_t> count(4);
  std::set<std::uint64_t> ids;
  for (int i = 0; i < 100; ++i) {
    const ConnectionId id = at.reserve();
    CHECK(ids.insert(id.value).second);
    ++count[at.lanes.worker_of(id)];
  }
  for (const auto of_one : count) CHECK(of_one == 25);
}

TEST_CASE("lane placement: the worker with the fewest lanes gets the next") {
  Placement at{3};
  std::vector<ConnectionId> running;
  for (int i = 0; i < 30; ++i) running.push_back(at.run());
  // One worker's lanes end: the next ten are all its.
  for (const auto id : running)
    if (at.lanes.worker_of(id) == 1) at.lanes.release(id);
  CHECK(at.lanes.lanes_of(1) == 0);
  for (int i = 0; i < 10; ++i) CHECK(at.lanes.worker_of(at.run()) == 1);
  CHECK(at.lanes.lanes_of(1) == 10);
}

TEST_CASE("lane placement: a thousand idle clients do not make a worker look busy") {
  Placement at{2};
  std::vector<ConnectionId> idle;
  for (int i = 0; i < 1000; ++i) idle.push_back(at.reserve());
  // All of the first worker's leave; the second's stay, idle.
  for (const auto id : idle)
    if (at.lanes.worker_of(id) == 0) at.lanes.release(id);
  at.now += LanePlacement::fresh_max;
  std::vector<std::size_t> count(2);
  for (int i = 0; i < 100; ++i) ++count[at.lanes.worker_of(at.run())];
  CHECK(count[0] == 50);
  CHECK(count[1] == 50);
}

TEST_CASE("lane placement: under any coming and going the counts are what a recount finds") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    const std::size_t workers = 1 + seed % 5;
    Placement at{workers, seed};
    Rng dice{seed + 1000};
    std::vector<ConnectionId> reserved;
    std::set<std::uint64_t> with_lane;
    for (int step = 0; step < 2000; ++step) {
      at.now += std::chrono::milliseconds{dice.below(200)};
      if (reserved.empty() || dice.chance(1, 2)) {
        reserved.push_back(at.reserve());
        continue;
      }
      const std::size_t which = dice.below(reserved.size());
      const ConnectionId id = reserved[which];
      if (dice.chance(1, 3)) {
        at.lanes.on_lane(id);
        at.lanes.on_lane(id);
        with_lane.insert(id.value);
      } else {
        at.lanes.release(id);
        at.lanes.release(id);
        with_lane.erase(id.value);
        reserved.erase(reserved.begin() + static_cast<std::ptrdiff_t>(which));
      }
      std::vector<std::size_t> lanes(workers);
      for (const auto value : with_lane) ++lanes[at.lanes.worker_of({value})];
      for (std::size_t worker = 0; worker < workers; ++worker) REQUIRE(at.lanes.lanes_of(worker) == lanes[worker]);
      REQUIRE(at.lanes.reserved() == reserved.size());
    }
  }
}

}  // namespace penstock::io
