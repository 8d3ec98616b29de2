// What is lost by chance, and what a policer drops.
#include "dataplane/engine/congestion/loss_floor.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>

#include "common/random.h"
#include "dataplane/engine/congestion/policer_watch.h"

namespace penstock::engine::test {
namespace {

using namespace std::chrono_literals;

TimePoint at(Duration since_start) { return TimePoint{} + since_start; }

/// So many packets of which each is lost with the same chance, or in runs of `run`.
LossTally draw(Rng& luck, std::uint64_t packets, std::uint64_t per_mille, std::uint64_t run = 1) {
  LossTally tally{.packets = packets};
  for (std::uint64_t i = 0; i < packets; ++i) {
    if (!luck.chance(per_mille, 1000 * run)) continue;
    const std::uint64_t lost = std::min(run, packets - i);
    tally.lost += lost;
    ++tally.runs;
    i += lost - 1;
  }
  return tally;
}

/// Rounds of a steady path.
void learn(LossFloor& floor, Rng& luck, int rounds, std::uint64_t packets, std::uint64_t per_mille,
           std::uint64_t run = 1) {
  static TimePoint now = at(1s);
  for (int i = 0; i < rounds; ++i) {
    floor.add(Pace::level, draw(luck, packets, per_mille, run));
    now += 20ms;
    floor.on_round(now);
  }
}

}  // namespace

TEST_CASE("loss floor: learns random loss to a percent, forgives what chance does, and not twice as much") {
  Rng luck{7};
  for (const std::uint64_t per_mille : {1U, 10U, 50U, 100U, 200U}) {
    CAPTURE(per_mille);
    LossFloor floor;
    learn(floor, luck, 60, 200, per_mille);
    CHECK(floor.ppm() >= per_mille * 1000 * 8 / 10);
    CHECK(floor.ppm() <= per_mille * 1000 * 12 / 10 + 500);
    int wrong = 0;
    for (int i = 0; i < 500; ++i) wrong += floor.is_excess(draw(luck, 300, per_mille)) ? 1 : 0;
    CHECK(wrong <= 5);
    CHECK(floor.is_excess({.packets = 300, .lost = 300 * per_mille / 1000 * 2 + 12}));
  }
}

TEST_CASE("loss floor: on a path that loses nothing 2 % is excess, and less is not") {
  LossFloor floor;
  Rng luck{8};
  learn(floor, luck, 20, 200, 0);
  CHECK(floor.forgiven(1000) == 0);
  CHECK_FALSE(floor.is_excess({.packets = 1000, .lost = 20}));
  CHECK(floor.is_excess({.packets = 1000, .lost = 21}));
  CHECK_FALSE(floor.is_excess({.packets = 10, .lost = 1}));  // one packet proves nothing
}

TEST_CASE("loss floor: losses in runs are forgiven in runs") {
  Rng luck{9};
  LossFloor floor;
  learn(floor, luck, 100, 400, 50, 10);
  CHECK(floor.ppm() > 30'000);
  int wrong = 0;
  for (int i = 0; i < 500; ++i) wrong += floor.is_excess(draw(luck, 400, 50, 10)) ? 1 : 0;
  CHECK(wrong <= 10);
}

TEST_CASE("loss floor: never above a quarter") {
  LossFloor floor;
  Rng luck{10};
  learn(floor, luck, 30, 200, 600);
  CHECK(floor.ppm() == LossFloor::cap_ppm);
}

TEST_CASE("loss floor: a change for good is believed after two round trips, one bad round trip is not") {
  Rng luck{11};
  LossFloor floor;
  learn(floor, luck, 40, 200, 0);
  learn(floor, luck, 1, 200, 100);
  CHECK(floor.ppm() < 10'000);
  learn(floor, luck, 3, 200, 100);
  CHECK(floor.ppm() > 60'000);
  learn(floor, luck, 4, 200, 0);
  CHECK(floor.ppm() < 10'000);
}

TEST_CASE("loss floor: loss that is less when less is sent was ours, loss that stays is the path's") {
  Rng luck{12};
  LossFloor policed;
  TimePoint now = at(1s);
  for (int i = 0; i < 10; ++i) {
    policed.add(Pace::level, draw(luck, 200, 100));
    policed.add(Pace::slowed, draw(luck, 100, 10));
    policed.on_round(now += 20ms);
  }
  CHECK(policed.ppm() < 25'000);

  LossFloor random;
  for (int i = 0; i < 10; ++i) {
    random.add(Pace::level, draw(luck, 200, 100));
    random.add(Pace::slowed, draw(luck, 100, 100));
    random.on_round(now += 20ms);
  }
  CHECK(random.ppm() > 80'000);
}

TEST_CASE("loss floor: what chance may take of any path is a quarter, and some luck") {
  Rng luck{13};
  int wrong = 0;
  for (int i = 0; i < 500; ++i) wrong += LossFloor::is_beyond_chance(draw(luck, 300, 250)) ? 1 : 0;
  CHECK(wrong <= 5);
  CHECK(LossFloor::is_beyond_chance({.packets = 300, .lost = 150, .runs = 75}));
  CHECK_FALSE(LossFloor::is_beyond_chance({.packets = 300, .lost = 150, .runs = 1}));  // an outage
}

/// A probe of 200 packets each six round trips of 200, as long as told; `lost` of them and `probed` of probes.
void probe(PolicerWatch& watch, Rng& luck, int rounds, std::uint64_t lost, std::uint64_t probed,
           std::uint64_t run = 1) {
  LossTally rest;
  for (int i = 0; i < rounds; ++i) {
    if (i % 7 == 6)
      watch.add(Pace::probing, draw(luck, 200, probed, run));
    else
      rest += draw(luck, 200, lost, run);
    if (rest.packets > 4'096) rest.halve();
    watch.on_round(rest);
  }
}

TEST_CASE("policer watch: whose probes lose more is policed, whatever all lose besides") {
  Rng luck{14};
  for (const std::uint64_t chance : {0U, 50U, 200U}) {
    CAPTURE(chance);
    PolicerWatch watch;
    probe(watch, luck, 35, chance, chance + 150);
    CHECK(watch.is_policed());
  }
}

TEST_CASE("policer watch: chance loses as much of probes, in bursts as well, for hours") {
  Rng luck{15};
  for (const std::uint64_t chance : {1U, 10U, 50U, 200U}) {
    for (const std::uint64_t run : {1U, 10U}) {
      CAPTURE(chance);
      CAPTURE(run);
      PolicerWatch watch;
      int policed = 0;
      for (int i = 0; i < 2'000; ++i) {
        probe(watch, luck, 7, chance, chance, run);
        policed += watch.is_policed() ? 1 : 0;
      }
      CHECK(policed <= 40);  // two in a hundred
    }
  }
}

TEST_CASE("policer watch: what older probes lost is no sign against a path that has come to lose less") {
  Rng luck{16};
  PolicerWatch watch;
  probe(watch, luck, 70, 100, 100);
  probe(watch, luck, 70, 0, 0);
  CHECK_FALSE(watch.is_policed());
}
TEST_CASE("policer watch: two or three packets of a probe are luck") {
  PolicerWatch watch;
  watch.add(Pace::probing, {.packets = 79, .lost = 3, .runs = 3});
  watch.on_round({.packets = 4'096, .lost = 2, .runs = 2});
  CHECK_FALSE(watch.is_policed());
}
TEST_CASE("policer watch: chance is the least of four stretches that were sent slowed, and nothing before the first") {
  PolicerWatch watch;
  const auto send = [&](std::uint64_t lost) {
    watch.add(Pace::slowed, {.packets = 1'100, .lost = lost, .runs = lost});
    watch.on_round({});
  };
  send(500);  // of the time before there was a policer
  CHECK_FALSE(watch.is_learning());
  watch.suspect();
  CHECK(watch.is_learning());
  CHECK(watch.chance_ppm() == 0);
  send(110);
  CHECK_FALSE(watch.is_learning());
  CHECK(watch.chance_ppm() == 100'000);
  send(55);
  send(220);
  CHECK(watch.chance_ppm() == 50'000);
  for (int i = 0; i < 3; ++i) send(110);
  CHECK(watch.chance_ppm() == 100'000);
}

TEST_CASE("policer watch: without another sign it is over after 256 round trips, and all is forgotten") {
  PolicerWatch watch;
  watch.suspect();
  watch.add(Pace::slowed, {.packets = 2'000, .lost = 100, .runs = 100});
  for (std::uint64_t i = 1; i < PolicerWatch::rounds_believed; ++i) watch.on_round({});
  CHECK(watch.is_policed());
  CHECK(watch.chance_ppm() == 50'000);
  watch.on_round({});
  CHECK_FALSE(watch.is_policed());
  watch.suspect();
  CHECK(watch.chance_ppm() == 0);
}

}  // namespace penstock::engine::test
