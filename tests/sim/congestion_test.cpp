#include <doctest/doctest.h>

#include <cstdint>

#include "tests/sim/path_cell.h"
#include "tests/sim/path_lab.h"

// A few of the paths that penstock_sim_paths prints as tables (README.md), held to what DESIGN section 5 asks.

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::Congestion;
using netem::Probability;

constexpr FlowPlan bbr{.congestion = Congestion::bbr};

PathOptions path(Duration rtt, std::uint64_t megabits, std::uint32_t loss_per_mille) {
  return {.rtt = rtt,
          .rate = DataRate::megabits_per_second(megabits),
          .loss = Probability::parts_per_million(loss_per_mille * 1'000)};
}

TEST_CASE("sim: bbr fills a path whatever it loses by chance, wastes nothing, and leaves no queue") {
  const PathOptions paths[] = {path(20ms, 100, 0),   path(20ms, 100, 1),   path(20ms, 100, 50), path(20ms, 100, 200),
                               path(100ms, 100, 10), path(100ms, 50, 100), path(250ms, 100, 0)};
  for (const PathOptions& options : paths) {
    CAPTURE(options.rtt / 1ms);
    CAPTURE(options.loss.parts_per_billion() / 1'000'000);
    const PathCell cell = measure_path(options, bbr, 6s);
    CHECK(cell.complete);
    CHECK(cell.efficiency_per_mille >= 950);
    CHECK(cell.waste_per_mille <= 10);
    CHECK(cell.queue_median_per_mille <= 150);
  }
}

TEST_CASE("sim: bbr keeps its rate where losses come in bursts, and where ACKs are lost as well") {
  PathOptions bursts = path(50ms, 100, 0);
  bursts.burst = netem::BurstLoss{.to_bad = Probability::parts_per_million(5'263), .to_good = Probability::percent(10)};
  CHECK(measure_path(bursts, bbr, 6s).efficiency_per_mille >= 900);
  PathOptions both_ways = path(50ms, 100, 50);
  both_ways.ack_loss = both_ways.loss;
  CHECK(measure_path(both_ways, bbr, 6s).efficiency_per_mille >= 950);
}

TEST_CASE("sim: bbr needs no deep queue, and fills none") {
  for (const std::uint64_t percent : {25U, 50U, 400U}) {
    CAPTURE(percent);
    PathOptions options = path(50ms, 100, 0);
    options.queue_percent = percent;
    const PathCell cell = measure_path(options, bbr, 6s);
    CHECK(cell.efficiency_per_mille >= 950);
    CHECK(cell.waste_per_mille <= 10);
    CHECK(cell.queue_median_per_mille <= 150);
  }
}

TEST_CASE("sim: bbr keeps its rate where ACKs come in lumps") {
  PathOptions options = path(20ms, 100, 0);
  options.ack_slot = 20ms;
  CHECK(measure_path(options, bbr, 6s).efficiency_per_mille >= 950);
}

TEST_CASE("sim: beside a policer bbr sends what it lets through, and little more") {
  PathOptions options = path(50ms, 200, 0);
  options.policer = Policer{.rate = DataRate::megabits_per_second(50)};
  const PathCell cell = measure_path(options, bbr, 8s);
  CHECK(cell.efficiency_per_mille >= 850);
  CHECK(cell.waste_per_mille <= 100);
}

TEST_CASE("sim: bbr is back at nine tenths within two seconds of a change") {
  const auto after = [](const PathChange& change, Duration end, std::uint64_t megabits) {
    PathOptions options = path(20ms, 100, 0);
    options.changes = {change};
    if (change.down) options.changes.push_back({.after = end});
    PathLab lab(options, {bbr});
    lab.run(end + 4s);
    return lab.goodput(0, end + 2s, end + 4s) * 100 / (megabits * 958'000);
  };
  CHECK(after({.after = 3s, .rate = DataRate::megabits_per_second(50)}, 3s, 50) >= 90);
  CHECK(after({.after = 3s, .rate = DataRate::megabits_per_second(200)}, 3s, 200) >= 90);
  CHECK(after({.after = 3s, .rtt = 120ms}, 3s, 100) >= 90);
  CHECK(after({.after = 3s, .loss = Probability::percent(5)}, 3s, 95) >= 90);
  CHECK(after({.after = 3s, .down = true}, 13s, 100) >= 90);
}

TEST_CASE("sim: two bbr flows share a bottleneck, and bbr and cubic leave each other room") {
  const auto share = [](Congestion second, std::uint64_t queue_percent) {
    PathOptions options = path(40ms, 50, 0);
    options.queue_percent = queue_percent;
    PathLab lab(options, {bbr, {.congestion = second, .start_after = 1s}});
    lab.run(61s);
    const std::uint64_t first = lab.goodput(0, 1s, 61s);
    const std::uint64_t other = lab.goodput(1, 1s, 61s);
    CHECK(first + other >= 43'000'000);
    return first * 100 / (first + other);
  };
  for (const std::uint64_t queue_percent : {50U, 100U, 200U}) {
    CAPTURE(queue_percent);
    const std::uint64_t beside_bbr = share(Congestion::bbr, queue_percent);
    CHECK(beside_bbr >= 40);
    CHECK(beside_bbr <= 60);
    const std::uint64_t beside_cubic = share(Congestion::cubic, queue_percent);
    CHECK(beside_cubic >= 30);
    CHECK(beside_cubic <= 70);
  }
}

}  // namespace
}  // namespace penstock::sim
