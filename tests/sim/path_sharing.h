#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/time.h"
#include "dataplane/engine/lane_config.h"
#include "tests/sim/path_lab.h"

// What two flows make of one path, as penstock_sim_paths prints it: `fairness` in many cells, `convergence` second by
// second. The README of this folder says how to read both.
namespace penstock::sim {

/// The engine's controllers (`scav` is short for `scavenger`), and `tcp-bbr`: TCP's bbr of version 1.
inline constexpr std::string_view flow_names = "bbr, cubic, scavenger or tcp-bbr";
[[nodiscard]] std::optional<FlowPlan> flow_named(std::string_view name);

/// Two flows by their names, in the order in which they come.
struct Couple {
  std::string_view first;
  std::string_view second;
};
/// FIRST/SECOND, as the table of couples has it.
[[nodiscard]] std::string to_string(const Couple& couple);
/// Those that the table has.
[[nodiscard]] std::span<const Couple> couples();

/// Which cells of the table of all couples; default: all of them.
struct FairnessCells {
  std::uint64_t seed = 1;
  std::optional<Couple> couple = {};
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
