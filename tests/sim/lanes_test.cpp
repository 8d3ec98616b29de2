#include <doctest/doctest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "tests/sim/path_lab.h"
#include "tests/sim/soak.h"

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
Shares beside_one_flow(std::size_t lanes, Congestion ours_by, Congestion other_by, const PathOptions& path) {
  auto plans = lanes_of({.congestion = ours_by}, lanes);
  plans.push_back({.congestion = other_by});
  PathLab lab(path, plans);
  lab.run(90s);
  const std::uint64_t ours = together(lab, 0, lanes, 30s, 90s);
  const std::uint64_t other = lab.goodput(lanes, 30s, 90s);
  return {.lanes_percent = ours * 100 / (ours + other),
          .total = ours + other,
          .jain = jain_per_mille(lab, lanes, 30s, 90s)};
}

}  // namespace

TEST_CASE("sim: coupled lanes beside one flow take one flow's share, however many they are, and share it evenly") {
  for (const std::size_t lanes : cells<std::size_t>({8}, {2, 64})) {
    CAPTURE(lanes);
    // So that 64 lanes have a few packets each.
    const std::uint64_t megabits = lanes == 64 ? 400 : 100;
    // Two cubics meet one queue: who loses first is luck, so that one beginning alone says little.
    const std::uint64_t beginnings = lanes == 64 ? 1 : 4;
    std::uint64_t sum_percent = 0;
    for (std::uint64_t seed = 1; seed <= beginnings; ++seed) {
      CAPTURE(seed);
      PathOptions path = shared_path(megabits);
      path.seed = seed;
      const Shares shares = beside_one_flow(lanes, Congestion::cubic, Congestion::cubic, path);
      CHECK(shares.lanes_percent >= 20);
      CHECK(shares.lanes_percent <= 80);
      CHECK(shares.total >= megabits * 900'000);
      CHECK(shares.jain >= 880);
      sum_percent += shares.lanes_percent;
    }
    const std::uint64_t percent = sum_percent / beginnings;
    CHECK(percent >= 35);
    CHECK(percent <= 65);
  }
}

TEST_CASE("sim: lanes under bbr beside one flow take one flow's share, and share it evenly") {
  for (const std::size_t lanes : {2U, 4U}) {
    for (const Congestion other : {Congestion::bbr, Congestion::cubic}) {
      CAPTURE(lanes);
      CAPTURE(static_cast<int>(other));
      const Shares shares = beside_one_flow(lanes, Congestion::bbr, other, shared_path(100));
      CHECK(shares.lanes_percent >= 35);
      CHECK(shares.lanes_percent <= 65);
      CHECK(shares.total >= 100 * 900'000);
      CHECK(shares.jain >= 950);
    }
  }
}

TEST_CASE("sim: lanes under bbr fill a path whatever it loses, and none starves") {
  for (const std::size_t lanes : {4U, 16U}) {
    for (const std::uint32_t loss_per_mille : {0U, 10U, 50U}) {
      CAPTURE(lanes);
      CAPTURE(loss_per_mille);
      PathOptions path = shared_path(200);
      path.loss = netem::Probability::parts_per_million(loss_per_mille * 1'000);
      PathLab lab(path, lanes_of({.congestion = Congestion::bbr}, lanes));
      lab.run(10s);
      CHECK(together(lab, 0, lanes, 1s, 10s) >= 200 * 958 * (1'000 - loss_per_mille) / 100 * 95);
      CHECK(jain_per_mille(lab, lanes, 1s, 10s) >= 950);
    }
  }
}

TEST_CASE("sim: when the lane that leads has nothing more to send the next one leads") {
  auto plans = lanes_of({.congestion = Congestion::bbr}, 4);
  plans[0].bytes = 10 * MiB;
  plans[1].bytes = 20 * MiB;
  plans.push_back({.congestion = Congestion::bbr});
  PathLab lab(shared_path(100), plans);
  lab.run(90s);
  CHECK(lab.flows()[1].finished_at);
  const std::uint64_t ours = together(lab, 0, 4, 30s, 90s);
  const std::uint64_t other = lab.goodput(4, 30s, 90s);
  CHECK(ours + other >= 100 * 900'000);
  // Two of four lanes are left, each of which sends a fourth of what one flow would, or more.
  CHECK(ours * 100 / (ours + other) >= 20);
  CHECK(ours * 100 / (ours + other) <= 65);
}

TEST_CASE("sim: uncoupled they would take several flows' shares") {
  std::vector<FlowPlan> plans(9, FlowPlan{.congestion = Congestion::cubic});
  PathLab lab(shared_path(100), plans);
  lab.run(30s);
  CHECK(together(lab, 0, 8, 5s, 30s) > 3 * lab.goodput(8, 5s, 30s));
}

}  // namespace penstock::sim
