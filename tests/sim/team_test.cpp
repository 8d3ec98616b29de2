#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "tests/sim/lane.h"
#include "tests/sim/soak.h"
#include "tests/sim/team_lab.h"

// One transfer over several lanes, each of which protects its own bytes (dataplane/engine/fec/README.md).

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::FecMode;
using netem::Probability;

std::uint64_t recovered(const TeamOutcome& outcome) {
  std::uint64_t sum = 0;
  for (const engine::LaneStats& stats : outcome.receivers) sum += stats.symbols_recovered;
  return sum;
}

std::uint64_t repairs(const TeamOutcome& outcome) {
  std::uint64_t sum = 0;
  for (const engine::LaneStats& stats : outcome.senders) sum += stats.repairs_sent;
  return sum;
}

void check_whole(const TeamOptions& options, const TeamOutcome& outcome) {
  CHECK(outcome.complete);
  CHECK(outcome.bytes_missing == 0);
  CHECK(outcome.bytes_accepted == options.bytes);  // so none came by two lanes
  for (const SinkViolations& violations : outcome.violations) CHECK(to_string(violations) == "");
  CHECK(outcome.closed.empty());
}

TeamOptions random_team(std::uint64_t seed) {
  Rng luck{seed * 6364136223846793005};
  constexpr std::size_t lanes[] = {2, 3, 4, 6, 8, 9};
  TeamOptions options;
  options.lanes = lanes[luck.below(std::size(lanes))];
  options.bytes = luck.between(1, 20 * MiB);
  options.rtt = std::chrono::milliseconds{luck.between(5, 150)};
  options.rate = DataRate::megabits_per_second(luck.between(20, 400));
  options.loss = Probability::parts_per_million(static_cast<std::uint32_t>(luck.below(200'000)));
  if (luck.chance(1, 2)) options.ack_loss = options.loss;
  if (luck.chance(1, 3)) options.reorder = Probability::percent(2);
  if (luck.chance(1, 4)) options.congestion = engine::Congestion::cubic;
  options.fec.mode = FecMode::automatic;
  if (luck.chance(1, 2))
    options.fec = {.mode = FecMode::fixed,
                   .sources = static_cast<std::uint8_t>(luck.between(1, 128)),
                   .repairs = static_cast<std::uint8_t>(luck.between(1, 12))};
  if (luck.chance(1, 2)) options.moves = static_cast<std::uint32_t>(luck.between(1, 12));
  if (luck.chance(1, 2))
    options.death = {.lane = static_cast<std::size_t>(luck.between(1, options.lanes - 1)),
                     .after = options.rate.time_for(options.bytes) * static_cast<Duration::rep>(luck.below(130)) / 100};
  if (luck.chance(1, 4)) options.sink = {.latency = std::chrono::milliseconds{luck.below(20)}, .slabs_max = 4};
  options.seed = luck.next();
  return options;
}

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Thousandths of a round trip, ascending.
std::vector<std::uint64_t> tails(TeamOptions options, std::uint64_t seeds) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    options.seed = seed;
    const TeamOutcome outcome = TeamLab{options}.run(60s);
    check_whole(options, outcome);
    if (outcome.complete)
      all.push_back(static_cast<std::uint64_t>((*outcome.arrived_at - *outcome.last_new_at) * 1000 / options.rtt));
  }
  std::ranges::sort(all);
  return all;
}

TEST_CASE("sim: lanes with FEC bring every byte once, whatever is lost, moves between them, or dies") {
  const std::uint64_t first = setting("PENSTOCK_SIM_FIRST", 1);
  const std::uint64_t count = setting("PENSTOCK_SIM_COUNT", is_soak() ? 300 : 60);
  std::uint64_t moves = 0;
  std::uint64_t deaths = 0;
  std::uint64_t symbols = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const TeamOptions options = random_team(seed);
    INFO("replay with PENSTOCK_SIM_FIRST=", seed, " PENSTOCK_SIM_COUNT=1 build/release/bin/penstock_sim_scenarios");
    INFO(fmt::format("{} lanes, {} B, rtt {} ms, {} Mbit/s, loss {} ppm, fec {}: {},{}, {} moves, {}", options.lanes,
                     options.bytes, options.rtt / 1ms, options.rate.bits_per_second() / 1'000'000,
                     options.loss.parts_per_billion() / 1000, static_cast<int>(options.fec.mode), options.fec.sources,
                     options.fec.repairs, options.moves, options.death ? "one dies" : "none dies"));
    const TeamOutcome outcome = TeamLab{options}.run(600s);
    check_whole(options, outcome);
    moves += outcome.moves;
    deaths += options.death ? 1U : 0U;
    symbols += recovered(outcome);
    // Nothing is taken for another lane's, in honest hands, but what was on its way when a lane died.
    if (!options.death)
      for (const engine::LaneStats& stats : outcome.receivers) CHECK(stats.packets_outside_lease == 0);
  }
  if (count >= 60) {
    CHECK(moves > count / 2);
    CHECK(deaths > count / 4);
    CHECK(symbols > count);
  }
}

TEST_CASE("sim: with FEC several lanes end as soon as one") {
  for (const std::size_t lanes : cells<std::size_t>({4}, {2})) {
    CAPTURE(lanes);
    TeamOptions options{.lanes = lanes, .bytes = 24 * MiB, .rtt = 100ms, .fec = {.mode = FecMode::automatic}};
    options.loss = Probability::percent(5);
    const auto five = tails(options, 11);
    REQUIRE(five.size() == 11);
    CHECK(five[5] <= 1'500);  // the bar
    options.loss = Probability::percent(20);
    const auto twenty = tails(options, 11);
    REQUIRE(twenty.size() == 11);
    CHECK(twenty[5] <= 3'000);
  }
}

TEST_CASE("sim: lanes with automatic FEC send no repair where nothing is lost") {
  // At the path's own rate, with a queue for what comes at once: no start-up that overruns it.
  const TeamOptions options{.lanes = 3,
                            .bytes = 24 * MiB,
                            .rtt = 50ms,
                            .congestion = engine::Congestion::fixed,
                            .fec = {.mode = FecMode::automatic}};
  const TeamOutcome outcome = TeamLab{options}.run(60s);
  check_whole(options, outcome);
  CHECK(repairs(outcome) == 0);
}

TEST_CASE("sim: what lanes drop in their own start-up is no loss of the path: no repair is sent for it") {
  for (const std::size_t lanes : {2U, 3U, 4U}) {
    for (const Duration rtt : {10ms, 50ms, 100ms}) {
      CAPTURE(lanes);
      CAPTURE(rtt.count());
      const TeamOptions options{.lanes = lanes, .bytes = 24 * MiB, .rtt = rtt, .fec = {.mode = FecMode::automatic}};
      const TeamOutcome outcome = TeamLab{options}.run(60s);
      check_whole(options, outcome);
      CHECK(repairs(outcome) == 0);
    }
  }
}

TEST_CASE("sim: lanes with a given ratio protect all that they send, at that ratio") {
  TeamOptions options{
      .lanes = 2, .bytes = 24 * MiB, .rtt = 40ms, .fec = {.mode = FecMode::fixed, .sources = 20, .repairs = 4}};
  options.loss = Probability::percent(5);
  const TeamOutcome outcome = TeamLab{options}.run(60s);
  check_whole(options, outcome);
  CHECK(recovered(outcome) > 300);  // of some 900 lost ones
  // A fifth of the symbols; a few generations are short, at the ends of extents.
  const std::uint64_t symbols = options.bytes / 1410;
  CHECK(repairs(outcome) >= symbols * 4 / 20 * 7 / 10);
  CHECK(repairs(outcome) <= symbols * 4 / 20 * 13 / 10 + 128);
}

}  // namespace
}  // namespace penstock::sim
