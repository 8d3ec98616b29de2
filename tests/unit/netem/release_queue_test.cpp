#include "netem/release_queue.h"

#include <doctest/doctest.h>

#include <vector>

#include "common/random.h"

namespace penstock::netem {
namespace {

TimePoint at(int ns) { return TimePoint{Duration{ns}}; }

TEST_CASE("release queue: nothing leaves before its time, everything at it") {
  ReleaseQueue<int> queue;
  CHECK_FALSE(queue.next());
  queue.push(at(10), 1);
  CHECK(queue.next() == at(10));
  CHECK_FALSE(queue.pop_due(at(9)));
  const auto due = queue.pop_due(at(10));
  REQUIRE(due);
  CHECK(due->at == at(10));
  CHECK(due->item == 1);
  CHECK_FALSE(queue.pop_due(at(1000)));
}

TEST_CASE("release queue: order is by time, and of equal times by arrival") {
  struct Item {
    int time;
    int number;
  };
  Rng luck{11};
  ReleaseQueue<Item> queue;
  for (int i = 0; i < 2000; ++i) {
    const int time = static_cast<int>(luck.below(50));  // many are equal
    queue.push(at(time), {time, i});
  }
  CHECK(queue.size() == 2000);
  std::vector<Item> out;
  while (auto due = queue.pop_due(at(100))) out.push_back(due->item);
  REQUIRE(out.size() == 2000);
  for (std::size_t i = 1; i < out.size(); ++i) {
    const bool in_order =
        out[i - 1].time < out[i].time || (out[i - 1].time == out[i].time && out[i - 1].number < out[i].number);
    REQUIRE(in_order);
  }
}

}  // namespace
}  // namespace penstock::netem
