#include "common/bytes/interval_set.h"

#include <doctest/doctest.h>

#include <bitset>
#include <vector>

#include "common/random.h"
#include "tests/printers.h"

namespace penstock::bytes {
namespace {

constexpr std::uint64_t top = std::numeric_limits<std::uint64_t>::max();

IntervalSet set_of(std::initializer_list<Interval> intervals) {
  IntervalSet set;
  for (const Interval& interval : intervals) set.insert(interval);
  return set;
}

TEST_CASE("interval set: prints as people read it") {
  CHECK(to_string(IntervalSet{}) == "[]");
  CHECK(to_string(set_of({{3, 10}, {12, 13}})) == "[3..9] [12]");
}

TEST_CASE("interval set: overlapping and touching intervals become one") {
  IntervalSet set;
  CHECK(set.insert({10, 20}).count == 10);
  CHECK(set.insert({30, 40}).count == 10);
  CHECK(set.insert({20, 30}).count == 10);
  CHECK(to_string(set) == "[10..39]");
  CHECK(set.insert({5, 10}).count == 5);
  CHECK(set.insert({0, 100}).count == 65);
  CHECK(to_string(set) == "[0..99]");
  CHECK(set.insert({40, 60}).count == 0);
  CHECK(set.size() == 100);
}

TEST_CASE("interval set: neighbours one apart stay apart") {
  CHECK(set_of({{0, 1}, {2, 3}, {4, 5}}).interval_count() == 3);
}

TEST_CASE("interval set: empty arguments change nothing") {
  IntervalSet set = set_of({{5, 6}});
  CHECK(set.insert({9, 9}).accepted);
  CHECK(set.erase({5, 5}).accepted);
  CHECK(to_string(set) == "[5]");
  CHECK(set.contains(Interval{7, 7}));
  CHECK_FALSE(set.intersects({5, 5}));
}

TEST_CASE("interval set: the ends of the number space work") {
  IntervalSet set;
  CHECK(set.insert({top - 1, top}).count == 1);
  CHECK(set.insert({0, 1}).count == 1);
  CHECK(set.contains(top - 1));
  CHECK_FALSE(set.contains(top));
  CHECK(set.insert({0, top}).count == top - 2);
  CHECK(set.size() == top);
  CHECK_FALSE(set.first_missing().has_value());
  CHECK(set.erase({1, top - 1}).count == top - 2);
  CHECK(set.interval_count() == 2);
}

TEST_CASE("interval set: erasing cuts, splits and drops") {
  IntervalSet set = set_of({{0, 10}, {20, 30}, {40, 50}});
  CHECK(set.erase({3, 5}).count == 2);
  CHECK(to_string(set) == "[0..2] [5..9] [20..29] [40..49]");
  CHECK(set.erase({8, 45}).count == 17);
  CHECK(to_string(set) == "[0..2] [5..7] [45..49]");
  CHECK(set.erase({10, 40}).count == 0);
  CHECK(set.erase_below(6) == 4);
  CHECK(to_string(set) == "[6..7] [45..49]");
  CHECK(set.pop_front() == Interval{6, 8});
  CHECK(set.size() == 5);
  set.clear();
  CHECK(set.empty());
  CHECK(set.size() == 0);
}

TEST_CASE("interval set: questions about gaps and overlaps") {
  const IntervalSet set = set_of({{10, 20}, {30, 40}});
  CHECK(set.first_missing() == 0U);
  CHECK(set.first_missing(10) == 20U);
  CHECK(set.first_missing(25) == 25U);
  CHECK(set.first_gap({0, 100}) == Interval{0, 10});
  CHECK(set.first_gap({10, 100}) == Interval{20, 30});
  CHECK(set.first_gap({15, 25}) == Interval{20, 25});
  CHECK(set.first_gap({35, 100}) == Interval{40, 100});
  CHECK_FALSE(set.first_gap({12, 20}).has_value());
  CHECK(set.first_overlap({0, 100}) == Interval{10, 20});
  CHECK(set.first_overlap({15, 100}) == Interval{15, 20});
  CHECK_FALSE(set.first_overlap({20, 30}).has_value());
  CHECK(to_string(set.complement({5, 35})) == "[5..9] [20..29]");
  CHECK(set.count_in({15, 35}) == 10);
  CHECK(set.count_in({0, 1000}) == 20);
  CHECK(set.find(39) == Interval{30, 40});
  CHECK_FALSE(set.find(40).has_value());
  CHECK(set.front() == Interval{10, 20});
  CHECK(set.back() == Interval{30, 40});
}

TEST_CASE("interval set: at the bound one more interval is refused whole, all else goes on") {
  IntervalSet set{2};
  CHECK(set.insert({0, 10}).accepted);
  CHECK(set.insert({20, 30}).accepted);
  CHECK_FALSE(set.insert({40, 50}).accepted);
  CHECK_FALSE(set.insert({15, 16}).accepted);
  CHECK_FALSE(set.erase({3, 5}).accepted);  // would split
  CHECK(to_string(set) == "[0..9] [20..29]");
  CHECK(set.size() == 20);
  CHECK(set.insert({30, 35}).accepted);  // grows one
  CHECK(set.insert({10, 20}).accepted);  // joins two
  CHECK(set.insert({40, 50}).accepted);
  set.pop_front();
  CHECK(set.insert({60, 70}).accepted);
  CHECK(to_string(set) == "[40..49] [60..69]");
}

// The model: one bit a number, obviously right.
constexpr std::size_t universe = 96;
using Model = std::bitset<universe>;

std::vector<Interval> intervals_of(const Model& model) {
  std::vector<Interval> runs;
  for (std::size_t i = 0; i < universe; ++i) {
    if (!model[i]) continue;
    if (!runs.empty() && runs.back().end == i)
      ++runs.back().end;
    else
      runs.push_back({i, i + 1});
  }
  return runs;
}

TEST_CASE("interval set: agrees with one bit a number over 200 random histories") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Rng rng{seed};
    IntervalSet set;
    Model model;
    for (int step = 0; step < 300; ++step) {
      CAPTURE(seed);
      CAPTURE(step);
      Interval range{rng.below(universe + 1), rng.below(universe + 1)};
      if (range.begin > range.end) std::swap(range.begin, range.end);
      if (rng.chance(2, 3) && range.size() > 4) range.end = range.begin + rng.below(5);
      Model mask;
      for (std::uint64_t i = range.begin; i < range.end; ++i) mask.set(i);
      switch (rng.below(4)) {
        case 0:
        case 1: {
          const auto added = (mask & ~model).count();
          REQUIRE(set.insert(range).count == added);
          model |= mask;
          break;
        }
        case 2: {
          const auto gone = (mask & model).count();
          REQUIRE(set.erase(range).count == gone);
          model &= ~mask;
          break;
        }
        default:
          if (!set.empty() && rng.chance(1, 4)) {
            const Interval first = set.pop_front();
            for (std::uint64_t i = first.begin; i < first.end; ++i) model.reset(i);
          }
      }
      const auto expected = intervals_of(model);
      REQUIRE(std::vector<Interval>(set.intervals().begin(), set.intervals().end()) == expected);
      REQUIRE(set.size() == model.count());
      REQUIRE(set.interval_count() == expected.size());
      REQUIRE(set.count_in(range) == (model & mask).count());
      REQUIRE(set.intersects(range) == (model & mask).any());
      REQUIRE(set.contains(range) == ((model & mask) == mask));
      const auto gaps = set.complement(range);
      REQUIRE(gaps.size() == (mask & ~model).count());
      for (std::uint64_t i = 0; i < universe; ++i) {
        REQUIRE(set.contains(i) == model[i]);
        REQUIRE(gaps.contains(i) == (mask[i] && !model[i]));
      }
    }
  }
}

TEST_CASE("interval set: a window of gaps that slides for a million steps keeps its memory") {
  // Every second packet is lost and never found: appended at the back, forgotten at the front. Quadratic movement here
  // would take minutes, so the suite's time limit is the bound.
  IntervalSet set;
  for (std::uint64_t i = 0; i < 1'000'000; ++i) {
    set.insert({2 * i, 2 * i + 1});
    if (set.interval_count() > 50'000) set.pop_front();
  }
  CHECK(set.interval_count() == 50'000);
  CHECK(set.back().end == 1'999'999);
  CHECK(set.size() == 50'000);
}

TEST_CASE("interval set: 100 000 holes fill in any order to one interval") {
  constexpr std::uint64_t holes = 100'000;
  std::vector<std::uint64_t> order(holes);
  for (std::uint64_t i = 0; i < holes; ++i) order[i] = i;
  Rng rng{5};
  for (std::uint64_t i = holes - 1; i > 0; --i) std::swap(order[i], order[rng.below(i + 1)]);
  IntervalSet set;
  for (std::uint64_t i = 0; i < holes; ++i) set.insert({2 * i, 2 * i + 1});
  CHECK(set.interval_count() == holes);
  for (const std::uint64_t i : order) set.insert({2 * i + 1, 2 * i + 2});
  CHECK(set.interval_count() == 1);
  CHECK(set.size() == 2 * holes);
}

}  // namespace
}  // namespace penstock::bytes
