#pragma once

#include <cstdint>
#include <optional>

namespace penstock::sim {

/// Which cells of the table; default: all of them.
struct PolicerCells {
  std::optional<std::int64_t> rtt_ms = {};
  std::optional<std::uint64_t> burst_percent = {};  // of a bandwidth-delay product
  std::uint64_t beginnings = 3;
};

/// What `cubic` (in the place of TCP's), TCP's bbr and our own get through a policer beside each kind of flow, in
/// percent of its rate, as penstock_sim_paths prints it.
void print_policer_table(const PolicerCells& cells);

}  // namespace penstock::sim
