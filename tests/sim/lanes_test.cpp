#include <doctest/doctest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "tests/sim/path_lab.h"

// Lanes of one transfer, coupled: together they are to the path what one flow is (dataplane/README.md, "More cores").

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::Congestion;

PathOptions shared_path(std::uint64_t megabits) {
  return {.rtt = 40ms, .rate = DataRate::megabits_per_second(megabits), .queue_percent = 100};
}

std::uint64_t together(const PathLab& lab, std::size_t first, std::size_t count, Duration from, Duration to) {
  std::uint64_t sum = 0;
  for (std::size_t i = first; i < first + count; ++i) sum += lab.goodput(i, from, to);
  return sum;
}

/// Jain's index of the first `count` flows, in thousandths.
std::uint64_t jain_per_mille(const PathLab& lab, std::size_t count, Duration from, Duration to) {
  std::uint64_t sum = 0;
  std::uint64_t squares = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t kilobits = lab.goodput(i, from, to) / 1'000;
    sum += kilobits;
    squares += kilobits * kilobits;
  }
  return squares == 0 ? 0 : sum * sum * 1'000 / (count * squares);
}

struct Shares {
  std::uint64_t lanes_percent = 0;  // of what all got
  std::uint64_t total = 0;          // bits a second
  std::uint64_t jain = 0;
};

/// A transfer of `lanes` beside one flow of one lane, for a minute after the half minute in which start-up evens out.
Shares beside_one_flow(std::size_t lanes, std::uint64_t megabits) {
  auto plans = lanes_of({.congestion = Congestion::cubic}, lanes);
  plans.push_back({.congestion = Congestion::cubic});
  PathLab lab(shared_path(megabits), plans);
  lab.run(90s);
  const std::uint64_t ours = together(lab, 0, lanes, 30s, 90s);
  const std::uint64_t other = lab.goodput(lanes, 30s, 90s);
  return {.lanes_percent = ours * 100 / (ours + other),
          .total = ours + other,
          .jain = jain_per_mille(lab, lanes, 30s, 90s)};
}

}  // namespace

TEST_CASE("sim: coupled lanes beside one flow take one flow's share, however many they are, and share it evenly") {
  for (const std::size_t lanes : {2U, 8U, 64U}) {
    CAPTURE(lanes);
    // So that 64 lanes have a few packets each.
    const std::uint64_t megabits = lanes == 64 ? 400 : 100;
    const Shares shares = beside_one_flow(lanes, megabits);
    CHECK(shares.lanes_percent >= 40);
    CHECK(shares.lanes_percent <= 60);
    CHECK(shares.total >= megabits * 900'000);
    CHECK(shares.jain >= 900);
  }
}

TEST_CASE("sim: uncoupled they would take several flows' shares") {
  std::vector<FlowPlan> plans(9, FlowPlan{.congestion = Congestion::cubic});
  PathLab lab(shared_path(100), plans);
  lab.run(30s);
  CHECK(together(lab, 0, 8, 5s, 30s) > 3 * lab.goodput(8, 5s, 30s));
}

}  // namespace penstock::sim
