#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "dataplane/engine/fec/repair_policy.h"
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

TEST_CASE("sim: FEC recovers through reordering, duplicates and corruption, to the byte") {
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

struct RatioChange {
  SeenRatio old;
  SeenRatio last;
};

/// The one that held at `moment`, and the last one of all. Requires: one.
RatioChange ratios_around(const std::vector<SeenRatio>& agreed, TimePoint moment) {
  RatioChange change{agreed.front(), agreed.back()};
  for (const SeenRatio& ratio : agreed)
    if (ratio.at <= moment) change.old = ratio;
  return change;
}

/// All is sent, damaged on the disk and sent again, while the path comes to lose four times as much: the repair of the
/// first tail is agreed on for what was lost until then, that of the second for what is lost now.
TEST_CASE("sim: where loss changes midway another ratio is agreed on while data flows, and is what frames carry") {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Scenario net{{.rtt = 60ms,
                  .rate = DataRate::megabits_per_second(50),
                  .loss = Probability::percent(4),
                  .congestion = engine::Congestion::bbr,
                  .fec = {.mode = engine::FecMode::automatic},
                  .seed = seed}};
    INFO("replay with seed ", seed);
    const TimePoint changed_at = net.start() + 2s;  // early in the second round
    netem::LinkSettings worse = net.forward().settings();
    worse.loss = Probability::percent(16);
    net.forward().change_at(changed_at, worse);
    std::vector<TimePoint> data;
    net.forward().drop([&](const Sighting& seen) {
      if (seen.header.offset) data.push_back(seen.at);
      return false;
    });
    const auto outcome = net.transfer({.bytes = 8 * MiB, .repairs = {{{{0}, {8 * MiB}}}}, .taps_repair = true});
    CHECK(outcome.complete);
    CHECK(outcome.received == outcome.sent);
    REQUIRE(!outcome.ratios_agreed.empty());
    REQUIRE(!outcome.repairs_seen.empty());

    // Each frame is of a ratio that had been agreed on when it left.
    for (const SeenRepair& repair : outcome.repairs_seen) {
      const bool agreed = std::ranges::any_of(outcome.ratios_agreed, [&](const SeenRatio& known) {
        return known.at <= repair.at &&
               repair.repairs == engine::repairs_for(repair.sources, known.ratio.loss_ppm, net.rtt());
      });
      CHECK(agreed);
    }
    // It changed with the loss, in the middle of the second round, and so did the frames.
    const auto around = ratios_around(outcome.ratios_agreed, changed_at);
    const auto& old = around.old;
    const auto& last = around.last;
    CHECK(last.at > changed_at);
    CHECK(last.ratio.loss_ppm >= old.ratio.loss_ppm * 3 / 2);
    CHECK(last.ratio.repairs > old.ratio.repairs);
    CHECK(std::ranges::count_if(data, [&](TimePoint at) { return at > last.at; }) >= 100);
    const auto is_of_last = [&](const SeenRepair& repair) {
      const auto by = [&](const SeenRatio& known) {
        return engine::repairs_for(repair.sources, known.ratio.loss_ppm, net.rtt());
      };
      return repair.at > last.at && repair.repairs == by(last) && repair.repairs > by(old);
    };
    CHECK(std::ranges::any_of(outcome.repairs_seen, [&](const auto& repair) { return repair.at < changed_at; }));
    CHECK(std::ranges::any_of(outcome.repairs_seen, is_of_last));
  }
}

TEST_CASE("sim: a ratio that was given stays what it is, whatever the path comes to lose") {
  Scenario net{{.rtt = 60ms,
                .rate = DataRate::megabits_per_second(50),
                .loss = Probability::percent(2),
                .congestion = engine::Congestion::bbr,
                .fec = {.mode = engine::FecMode::fixed, .sources = 20, .repairs = 4},
                .seed = 5}};
  netem::LinkSettings worse = net.forward().settings();
  worse.loss = Probability::percent(16);
  net.forward().change_at(net.start() + 500ms, worse);
  const auto outcome = net.transfer({.bytes = 4 * MiB, .taps_repair = true});
  CHECK(outcome.complete);
  CHECK(outcome.received == outcome.sent);
  CHECK(outcome.repairs_seen.size() > 400);
  for (const SeenRepair& repair : outcome.repairs_seen) {
    CHECK(repair.repairs == 4);
    CHECK(repair.sources <= 20);
  }
}

}  // namespace
}  // namespace penstock::sim
