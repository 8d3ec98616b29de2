#include <doctest/doctest.h>

#include <cstdint>

#include "tests/sim/path_cell.h"
#include "tests/sim/path_lab.h"
#include "tests/sim/scenario.h"
#include "tests/sim/soak.h"

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::Congestion;
using engine::EcnFault;
using engine::EcnState;

PathOptions path(Duration rtt, std::uint64_t mark_percent = 0) {
  PathOptions options{.rtt = rtt, .rate = DataRate::megabits_per_second(100)};
  if (mark_percent > 0) options.mark_percent = mark_percent;
  return options;
}

TEST_CASE("sim: where a queue marks, bbr loses next to nothing, fills the path, and keeps the queue short") {
  for (const Duration rtt : {20ms, 100ms}) {
    for (const std::uint64_t percent : {10U, 25U}) {
      CAPTURE(rtt / 1ms);
      CAPTURE(percent);
      const PathCell cell = measure_path(path(rtt, percent), {.congestion = Congestion::bbr}, 20s);
      CHECK(cell.complete);
      CHECK(cell.efficiency_per_mille >= 950);
      CHECK(cell.flow.sender.ecn == EcnState::capable);
      CHECK(cell.flow.sender.marks_told.ce > 0);
      // In the first round trips nobody knows yet that the path carries marks.
      CHECK(cell.flow.sender.packets_lost * 1000 <= cell.flow.sender.packets_sent);
      CHECK(cell.queue_median_per_mille <= 50);
    }
  }
}

TEST_CASE("sim: where a queue marks, cubic loses next to nothing, and keeps its rate") {
  struct Cell {
    Duration rtt;
    std::uint64_t percent;
    std::uint64_t least;
  };
  // Its pacing sends a window in four fifths of a round trip: on a tenth of a BDP that alone makes marks.
  for (const Cell& want : {Cell{20ms, 10, 900}, Cell{20ms, 25, 950}, Cell{100ms, 10, 930}, Cell{100ms, 25, 950}}) {
    CAPTURE(want.rtt / 1ms);
    CAPTURE(want.percent);
    const PathCell cell = measure_path(path(want.rtt, want.percent), {.congestion = Congestion::cubic}, 20s);
    CHECK(cell.complete);
    CHECK(cell.efficiency_per_mille >= want.least);
    CHECK(cell.flow.sender.ecn == EcnState::capable);
    CHECK(cell.flow.sender.marks_told.ce > 0);
    CHECK(cell.flow.sender.packets_lost * 500 <= cell.flow.sender.packets_sent);
    CHECK(cell.queue_median_per_mille <= want.percent * 10);
  }
}

TEST_CASE("sim: each box that breaks marks is found, and the transfer is as fast as without them") {
  struct Broken {
    MarkBox box;
    EcnFault fault;
  };
  for (const Broken& broken :
       {Broken{MarkBox::bleaches, EcnFault::uncounted}, Broken{MarkBox::drops_marked, EcnFault::black_hole},
        Broken{MarkBox::rewrites, EcnFault::rewritten}, Broken{MarkBox::marks_all, EcnFault::all_ce}}) {
    for (const Congestion congestion : {Congestion::bbr, Congestion::cubic, Congestion::scavenger}) {
      CAPTURE(to_string(broken.box));
      CAPTURE(static_cast<int>(congestion));
      PathOptions options = path(50ms);
      const PathCell without = measure_path(options, {.congestion = congestion, .ecn = false}, 10s);
      options.box = broken.box;
      const PathCell cell = measure_path(options, {.congestion = congestion}, 10s);
      CHECK(cell.complete);
      CHECK(cell.flow.sender.ecn == EcnState::failed);
      CHECK(cell.flow.sender.ecn_fault == broken.fault);
      CHECK(cell.flow.sender.packets_marked < 1000);
      // Scavenger begins with 16 packets, of which ten are lost in a black hole: that ends its slow start.
      const std::uint64_t least = congestion == Congestion::scavenger ? 80 : 95;
      CHECK(cell.efficiency_per_mille * 100 >= without.efficiency_per_mille * least);
    }
  }
}

TEST_CASE("sim: a path that begins to break marks midway is found, and slows nobody") {
  for (const MarkBox box : {MarkBox::bleaches, MarkBox::drops_marked, MarkBox::rewrites, MarkBox::marks_all}) {
    for (const Congestion congestion : {Congestion::bbr, Congestion::cubic}) {
      CAPTURE(to_string(box));
      CAPTURE(static_cast<int>(congestion));
      PathLab lab(path(50ms), {{.congestion = congestion}});
      lab.forward().set_box_at(lab.start() + 5s, box);
      lab.run(20s);
      CHECK(lab.flows()[0].sender.ecn == EcnState::failed);
      CHECK(lab.goodput(0, 10s, 20s) >= 90 * 958'000);
    }
  }
}

TEST_CASE("sim: a moved client's path is tested anew, and an outage leaves marks in use") {
  Options options{.rtt = 60ms, .seed = 5};
  options.congestion = Congestion::bbr;
  SUBCASE("another host") {
    LanePlan plan{.bytes = 12 * MiB, .pull = true};
    plan.moves = {{.after = 500ms, .change = engine::AddressChange::host}};
    Scenario net{options};
    net.backward().set_box_at(net.start() + 480ms, MarkBox::bleaches);
    net.backward().set_box_at(net.start() + 500ms, MarkBox::honest);
    const auto result = net.transfer(plan);
    CHECK(result.complete);
    CHECK(result.sender.peer_moves == 1);
    CHECK(result.sender.ecn == EcnState::capable);
  }
  SUBCASE("an outage") {
    options.outage = Outage{.after = 500ms, .length = 2s};
    Scenario net{options};
    const auto result = net.transfer(20 * MiB);
    CHECK(result.complete);
    CHECK(result.sender.ecn == EcnState::capable);
  }
}

/// Percent that the first of two flows gets of a minute, from the second one's start on: the mean of two beginnings.
std::uint64_t mean_share(PathOptions options, Congestion first, Congestion second) {
  std::uint64_t sum = 0;
  for (const std::uint64_t seed : {1U, 2U}) {
    options.seed = seed;
    const Duration begin = 2s + seed * 170ms;
    PathLab lab(options, {{.congestion = first}, {.congestion = second, .start_after = begin}});
    lab.run(begin + 60s);
    const std::uint64_t one = lab.goodput(0, begin, begin + 60s);
    const std::uint64_t other = lab.goodput(1, begin, begin + 60s);
    CHECK(one + other >= 92 * 958'000);
    sum += one * 100 / (one + other);
  }
  return sum / 2;
}

TEST_CASE("sim: two flows share a queue that marks a quarter of a bandwidth-delay product") {
  for (const Duration rtt : cells<Duration>({100ms}, {20ms})) {
    CAPTURE(rtt / 1ms);
    const std::uint64_t alike = mean_share(path(rtt, 25), Congestion::bbr, Congestion::bbr);
    CHECK(alike >= 40);
    CHECK(alike <= 60);
    const std::uint64_t mixed = mean_share(path(rtt, 25), Congestion::bbr, Congestion::cubic);
    CHECK(mixed >= 30);
    CHECK(mixed <= 78);
    const std::uint64_t turned = mean_share(path(rtt, 25), Congestion::cubic, Congestion::bbr);
    CHECK(turned >= 30);
    CHECK(turned <= 70);
  }
  // The queue stays above a threshold so low for whole round trips: that is congestion, and no broken path.
  const std::uint64_t share = mean_share(path(20ms, 10), Congestion::bbr, Congestion::bbr);
  CHECK(share >= 40);
  CHECK(share <= 60);
}

}  // namespace
}  // namespace penstock::sim
