#include "tests/sim/policer_tables.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "tests/sim/path_sharing.h"
#include "tests/sim/policed_pair.h"

namespace penstock::sim {
namespace {

/// Whose part is told, and beside whom.
constexpr Couple policed_couples[] = {{"cubic", "bbr"},   {"cubic", "tcp-bbr"},   {"cubic", "cubic"},
                                      {"tcp-bbr", "bbr"}, {"tcp-bbr", "tcp-bbr"}, {"bbr", "bbr"},
                                      {"bbr", "tcp-bbr"}};

double percent(std::uint64_t per_mille) { return static_cast<double>(per_mille) / 10; }

}  // namespace

void print_policer_table(const PolicerCells& cells) {
  fmt::print(
      "\npolicer of 100 Mbit/s, 60 s with both: what the first named gets (least-most of {} beginnings, either of the "
      "two first), what both get; in % of its rate\n",
      cells.beginnings);
  for (const std::int64_t rtt : {20, 40, 100}) {
    if (cells.rtt_ms && *cells.rtt_ms != rtt) continue;
    for (const std::uint64_t burst : {10U, 25U, 100U}) {
      if (cells.burst_percent && *cells.burst_percent != burst) continue;
      fmt::print("  rtt {:3} burst {:3} % of a BDP:", rtt, burst);
      for (const Couple& couple : policed_couples) {
        const PolicedShares shares =
            share_policer({.rtt = std::chrono::milliseconds{rtt}, .burst_percent = burst},
                          flow_named(couple.second).value(), flow_named(couple.first).value(), cells.beginnings);
        fmt::print("  {} {:.0f} ({:.0f}-{:.0f}) of {:.0f}", to_string(couple), percent(shares.other_per_mille),
                   percent(shares.other_least), percent(shares.other_most),
                   percent(shares.one_per_mille + shares.other_per_mille));
        std::fflush(stdout);
      }
      fmt::print("\n");
    }
  }
}

}  // namespace penstock::sim
