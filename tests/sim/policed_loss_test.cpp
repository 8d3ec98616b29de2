#include <doctest/doctest.h>

#include <cstdint>

#include "tests/sim/path_lab.h"

// Loss by chance and a policer together, and loss by chance that changes and must not be taken for one.

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using netem::Probability;

constexpr FlowPlan bbr{.congestion = engine::Congestion::bbr};
constexpr std::uint64_t payload_per_mille = 958;

struct Loss {
  Duration from{0};
  std::uint32_t percent = 0;
};

/// `policed`: nothing waits there, for the bottleneck behind carries twice as much.
PathOptions path(Duration rtt, DataRate rate, bool policed, std::initializer_list<Loss> losses) {
  PathOptions options{.rtt = rtt, .rate = rate};
  if (policed) {
    options.rate = DataRate::bits_per_second(2 * rate.bits_per_second());
    options.policer = netem::Policer{.rate = rate, .burst = rate.bytes_in(rtt) / 4};
  }
  for (const Loss& loss : losses) {
    if (loss.from == Duration{0})
      options.loss = Probability::percent(loss.percent);
    else
      options.changes.push_back({.after = loss.from, .loss = Probability::percent(loss.percent)});
  }
  return options;
}

/// Of the file bytes that `rate` carries where so many percent are lost.
std::uint64_t per_mille(const PathLab& lab, DataRate rate, std::uint32_t lost, Duration from, Duration to) {
  const std::uint64_t whole = rate.bits_per_second() / 1'000 * payload_per_mille / 100 * (100 - lost);
  return lab.goodput(0, from, to) * 1'000 / whole;
}

TEST_CASE("sim: where chance takes less than it did, nobody is taken for a policer") {
  const DataRate rate = DataRate::megabits_per_second(50);
  for (const std::uint32_t before : {5U, 20U}) {
    CAPTURE(before);
    PathLab lab(path(20ms, rate, false, {{0s, before}, {8s, 0}}), {bbr});
    lab.run(20s);
    CHECK(per_mille(lab, rate, 0, 12s, 20s) >= 980);  // 950 of who fills a policer's bucket again
  }
}

TEST_CASE("sim: loss that goes and comes back is chance as it was") {
  const DataRate rate = DataRate::megabits_per_second(10);
  for (const std::uint64_t seed : {1U, 2U}) {
    CAPTURE(seed);
    PathOptions options = path(100ms, rate, false, {{0s, 10}, {20s, 0}, {40s, 10}});
    options.seed = seed;
    PathLab lab(options, {bbr});
    lab.run(50s);
    CHECK(per_mille(lab, rate, 10, 40s, 50s) >= 900);
  }
}

TEST_CASE("sim: what chance takes through a policer is learnt, however slow the path") {
  struct Case {
    Duration rtt;
    std::uint64_t megabits;
    std::uint32_t loss;
  };
  for (const Case& path_case : {Case{20ms, 10, 5}, Case{20ms, 10, 20}, Case{40ms, 2, 5}, Case{40ms, 2, 20}}) {
    const DataRate rate = DataRate::megabits_per_second(path_case.megabits);
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      CAPTURE(path_case.megabits);
      CAPTURE(path_case.loss);
      CAPTURE(seed);
      PathOptions options = path(path_case.rtt, rate, true, {{0s, path_case.loss}});
      options.seed = seed;
      PathLab lab(options, {bbr});
      lab.run(40s);
      CHECK(per_mille(lab, rate, path_case.loss, 0s, 20s) >= 850);
      CHECK(per_mille(lab, rate, path_case.loss, 20s, 40s) >= 850);
    }
  }
}

TEST_CASE("sim: chance that begins to take something through a policer slows nobody down for long") {
  const DataRate rate = DataRate::megabits_per_second(50);
  for (const Duration rtt : {20ms, 100ms}) {
    CAPTURE(rtt / 1ms);
    PathLab lab(path(rtt, rate, true, {{0s, 0}, {10s, 5}}), {bbr});
    lab.run(30s);
    CHECK(per_mille(lab, rate, 5, 10s, 20s) >= 750);
    CHECK(per_mille(lab, rate, 5, 20s, 30s) >= 850);
  }
}

TEST_CASE("sim: a short queue on a path that jitters is no policer from the start") {
  const DataRate rate = DataRate::megabits_per_second(50);
  for (std::uint64_t seed = 1; seed <= 16; ++seed) {
    CAPTURE(seed);
    PathOptions options = path(20ms, rate, false, {{0s, 5}});
    options.jitter = 5ms;
    options.queue_percent = 10;
    options.seed = seed;
    PathLab lab(options, {bbr});
    lab.run(4s);
    CHECK(per_mille(lab, rate, 5, 0s, 4s) >= 750);
  }
}

}  // namespace
}  // namespace penstock::sim
