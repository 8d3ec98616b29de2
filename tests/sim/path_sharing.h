#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/time.h"
#include "dataplane/engine/lane_config.h"
#include "tests/sim/path_lab.h"

namespace penstock::sim {

/// What two flows make of one path, as penstock_sim_paths prints it: `fairness` in many cells, `convergence` second by
/// second. The README of this folder says how to read both.

/// The engine's controllers, and `tcp-bbr`: TCP's bbr of version 1.
[[nodiscard]] FlowPlan flow_named(std::string_view name);

/// Which cells of the table of all couples; default: all of them.
struct FairnessCells {
  std::uint64_t seed = 1;
  std::string couple;  // as the table prints it; empty: all
  std::optional<std::int64_t> rtt_ms = {};
  std::optional<std::uint64_t> queue_percent = {};
};
/// The mean of several beginnings of the second flow: where in a cycle of the first it falls is luck.
void print_fairness(const FairnessCells& cells);

/// A flow, and one that joins it a little, by the seed of the path, after `join`.
struct Latecomer {
  PathOptions path;
  engine::Congestion first = engine::Congestion::bbr;
  FlowPlan late;
  Duration join{};
  Duration length{};  // from then on
  bool csv = false;   // a line a second, for tests/sim/latecomer to draw
};
void print_convergence(const Latecomer& run);

}  // namespace penstock::sim
