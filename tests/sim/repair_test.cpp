#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/sim/path_cell.h"
#include "tests/sim/path_lab.h"
#include "tests/sim/scenario.h"

// What FEC makes of the end of a transfer, held to DESIGN section 5's bars. penstock_sim_paths fec prints the tables.

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using netem::Probability;

constexpr FlowPlan automatic{.fec = {.mode = engine::FecMode::automatic}};

struct Tails {
  std::uint64_t median = 0;  // thousandths of a round trip
  std::uint64_t p95 = 0;
};

Tails tails_of(PathOptions options, const FlowPlan& plan) {
  constexpr std::size_t seeds = 21;
  std::vector<std::uint64_t> tails;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    options.seed = seed;
    const PathCell cell = measure_path(options, plan, 2s);
    CHECK(cell.complete);
    tails.push_back(cell.tail_milli_rtt);
  }
  std::sort(tails.begin(), tails.end());
  return {tails[seeds / 2], tails[seeds * 95 / 100]};
}

PathOptions path(std::uint32_t loss_percent) {
  return {.rtt = 100ms, .rate = DataRate::megabits_per_second(100), .loss = Probability::percent(loss_percent)};
}

TEST_CASE("sim: with FEC a tail takes little more than the way there, whatever the path loses") {
  const Tails five = tails_of(path(5), automatic);
  CHECK(five.median <= 1'000);  // the bar is 1.5 round trips
  CHECK(five.p95 <= 2'000);
  const Tails twenty = tails_of(path(20), automatic);
  CHECK(twenty.median <= 1'500);  // the bar is 3
  CHECK(twenty.p95 <= 3'000);
}

TEST_CASE("sim: with FEC a tail survives bursts of ten") {
  PathOptions bursts = path(0);
  bursts.burst = netem::BurstLoss{.to_bad = Probability::parts_per_million(5'263), .to_good = Probability::percent(10)};
  CHECK(tails_of(bursts, automatic).median <= 1'000);
}

TEST_CASE("sim: automatic FEC sends nothing where nothing is lost") {
  for (const Duration rtt : {2ms, 20ms, 100ms}) {
    PathOptions clean = path(0);
    clean.rtt = rtt;
    const PathCell cell = measure_path(clean, automatic, 4s);
    CHECK(cell.complete);
    CHECK(cell.flow.sender.repairs_sent == 0);
  }
}

TEST_CASE("sim: automatic FEC spends no more on a tail than twice the loss of a window, and nothing before it") {
  const PathCell cell = measure_path(path(5), automatic, 6s);
  CHECK(cell.complete);
  CHECK(cell.flow.sender.repairs_sent > 0);
  const std::uint64_t window = DataRate::megabits_per_second(100).bytes_in(100ms) / 1500;
  CHECK(cell.flow.sender.repairs_sent <= window / 4);
  CHECK(cell.efficiency_per_mille >= 950);
  CHECK(cell.waste_per_mille <= 10);
}

TEST_CASE("sim: FEC recovers through reordering, duplicates, corruption and a change of ratio, to the byte") {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    for (const engine::Fec& fec : {engine::Fec{.mode = engine::FecMode::automatic},
                                   engine::Fec{.mode = engine::FecMode::fixed, .sources = 20, .repairs = 4}}) {
      Scenario net{{.rtt = 60ms,
                    .rate = DataRate::megabits_per_second(50),
                    .loss = Probability::percent(static_cast<std::uint32_t>(2 * seed)),
                    .ack_loss = Probability::percent(3),
                    .reorder = Probability::percent(2),
                    .reorder_delay = 5ms,
                    .duplicate = Probability::percent(1),
                    .corrupt = Probability::percent(1),
                    .congestion = engine::Congestion::bbr,
                    .fec = fec,
                    .seed = seed}};
      INFO("replay with seed ", seed);
      const auto outcome = net.transfer({.bytes = 4 * MiB});
      CHECK(outcome.complete);
      CHECK(outcome.received == outcome.sent);
      CHECK(to_string(outcome.sink_violations) == "");
      CHECK(to_string(outcome.wire_violations) == "");
      CHECK(outcome.receiver.symbols_recovered > 0);
      CHECK(outcome.sender.symbols_recovered <= outcome.receiver.symbols_recovered);  // as far as it heard
    }
  }
}

}  // namespace
}  // namespace penstock::sim
