#include <doctest/doctest.h>

#include <cstdint>

#include "tests/sim/path_lab.h"
#include "tests/sim/soak.h"

// Two flows over one queue for a minute: cells of `penstock_sim_paths fairness`, held to what DESIGN section 5 asks.
// Every run tries each RTT and each depth of queue once, a soak each with each.

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::Congestion;

constexpr FlowPlan bbr{.congestion = Congestion::bbr};
constexpr FlowPlan cubic{.congestion = Congestion::cubic};
constexpr FlowPlan tcp_bbr{.tcp_bbr = true};

struct Cell {
  Duration rtt;
  std::uint64_t queue_percent;
};

PathOptions path(Duration rtt) { return {.rtt = rtt, .rate = DataRate::megabits_per_second(100)}; }

/// Percent that the first of two flows gets of a minute, from the second one's start on. The mean of three beginnings:
/// where in a cycle of the first flow it falls is luck.
std::uint64_t mean_share(PathOptions options, const FlowPlan& first, FlowPlan second) {
  const std::uint64_t enough = options.rate.bits_per_second() / 100 * 92;
  std::uint64_t sum = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    options.seed = seed;
    const Duration begin = 2s + seed * 170ms;
    second.start_after = begin;
    PathLab lab(options, {first, second});
    lab.run(begin + 60s);
    const std::uint64_t one = lab.goodput(0, begin, begin + 60s);
    const std::uint64_t other = lab.goodput(1, begin, begin + 60s);
    CHECK(one + other >= enough);
    sum += one * 100 / (one + other);
  }
  return sum / 3;
}

TEST_CASE("sim: scavenger leaves a path to cubic, and takes nearly all of one that nobody else wants") {
  constexpr FlowPlan scavenger{.congestion = Congestion::scavenger};
  for (const Duration rtt : {20ms, 100ms}) {
    CAPTURE(rtt / 1ms);
    PathLab alone(path(rtt), {scavenger});
    alone.run(60s);
    CHECK(alone.goodput(0, 0s, 60s) >= 100 * 958'000 / 10 * 9);
  }
  for (const Cell& cell :
       cells<Cell>({{20ms, 50}, {100ms, 100}}, {{20ms, 100}, {20ms, 200}, {100ms, 50}, {100ms, 200}})) {
    CAPTURE(cell.rtt / 1ms);
    CAPTURE(cell.queue_percent);
    std::uint64_t share = 0;
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      PathOptions options = path(cell.rtt);
      options.queue_percent = cell.queue_percent;
      options.seed = seed;
      PathLab lab(options, {scavenger, {.congestion = Congestion::cubic, .start_after = 2s + seed * 170ms}});
      lab.run(63s);
      const std::uint64_t own = lab.goodput(0, 3s, 63s);
      share += own * 100 / (own + lab.goodput(1, 3s, 63s));
    }
    CHECK(share / 3 < 10);
  }
}

TEST_CASE("sim: two bbr flows share a bottleneck within a minute, whoever came first, and how deep the queue is") {
  for (const Cell& cell : cells<Cell>({{20ms, 50}, {40ms, 100}, {100ms, 200}},
                                      {{20ms, 100}, {20ms, 200}, {40ms, 50}, {40ms, 200}, {100ms, 50}, {100ms, 100}})) {
    CAPTURE(cell.rtt / 1ms);
    CAPTURE(cell.queue_percent);
    PathOptions options = path(cell.rtt);
    options.queue_percent = cell.queue_percent;
    const std::uint64_t share = mean_share(options, bbr, bbr);
    CHECK(share >= 40);
    CHECK(share <= 60);
  }
}

/// Percent, DESIGN section 5.
constexpr std::uint64_t least_share(std::uint64_t queue_percent) {
  return queue_percent == 25 || queue_percent == 400 ? 15 : 30;
}

void check_room(const FlowPlan& other, const Cell& cell) {
  CAPTURE(cell.rtt / 1ms);
  CAPTURE(cell.queue_percent);
  PathOptions options = path(cell.rtt);
  options.queue_percent = cell.queue_percent;
  const std::uint64_t least = least_share(cell.queue_percent);
  const std::uint64_t before = mean_share(options, bbr, other);
  CHECK(before >= least);
  CHECK(before <= 100 - least);
  const std::uint64_t after = mean_share(options, other, bbr);
  CHECK(after >= least);
  CHECK(after <= 100 - least);
}

TEST_CASE("sim: bbr and cubic leave each other room, whoever came first") {
  for (const Cell& cell :
       cells<Cell>({{20ms, 200}, {40ms, 50}, {100ms, 100}, {100ms, 25}},
                   {{20ms, 50}, {20ms, 100}, {40ms, 100}, {40ms, 200}, {100ms, 50}, {100ms, 200}, {100ms, 400}}))
    check_room(cubic, cell);
}

TEST_CASE("sim: the model of TCP's bbr fills a path, and shares it with another of its kind in any queue") {
  PathLab alone(path(40ms), {tcp_bbr});
  alone.run(20s);
  CHECK(alone.goodput(0, 2s, 20s) >= 100 * 958'000 / 100 * 95);
  for (const std::uint64_t queue_percent : cells<std::uint64_t>({50, 200}, {25, 100, 400})) {
    CAPTURE(queue_percent);
    PathOptions options = path(40ms);
    options.queue_percent = queue_percent;
    const std::uint64_t share = mean_share(options, tcp_bbr, tcp_bbr);
    CHECK(share >= 40);
    CHECK(share <= 60);
  }
}

/// It heeds no loss: whoever gives way at each one is left with a fifth (share_watch.h).
TEST_CASE("sim: bbr holds its own beside TCP's bbr, whoever came first") {
  for (const Cell& cell :
       cells<Cell>({{40ms, 100}, {40ms, 400}, {100ms, 50}},
                   {{40ms, 25}, {40ms, 50}, {40ms, 200}, {100ms, 25}, {100ms, 100}, {100ms, 200}, {100ms, 400}}))
    check_room(tcp_bbr, cell);
}

}  // namespace
}  // namespace penstock::sim
