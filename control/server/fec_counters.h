#pragma once

#include <cstdint>

#include "dataplane/engine/events.h"

namespace penstock::control {

/// What forward error correction did in all transfers of a daemon, pushed and pulled; names are those of the metrics.
/// One owner.
struct FecCounters {
  std::uint64_t penstock_fec_repairs_sent_total = 0;      // repair symbols, of pulls
  std::uint64_t penstock_fec_repairs_received_total = 0;  // likewise, of pushes
  std::uint64_t penstock_fec_symbols_recovered_total =
      0;  // ranges of one datagram's bytes; of pulls, as the client told
  /// Generations that did not recover all: of pulls, what was missing was sent again; of pushes, what they needed was
  /// not in memory any more, or there was no room to keep them.
  std::uint64_t penstock_fec_generations_failed_total = 0;
};

/// Follows one transfer's counters, which grow, into the daemon's. One owner.
class FecFollower {
 public:
  void follow(const engine::LaneStats& lane, FecCounters& into) {
    add(lane.repairs_sent, seen_.repairs_sent, into.penstock_fec_repairs_sent_total);
    add(lane.repairs_received, seen_.repairs_received, into.penstock_fec_repairs_received_total);
    add(lane.symbols_recovered, seen_.symbols_recovered, into.penstock_fec_symbols_recovered_total);
    add(lane.generations_failed, seen_.generations_failed, into.penstock_fec_generations_failed_total);
  }

 private:
  struct Seen {
    std::uint64_t repairs_sent = 0;
    std::uint64_t repairs_received = 0;
    std::uint64_t symbols_recovered = 0;
    std::uint64_t generations_failed = 0;
  };
  /// Counters of a run that has just begun may be older than those seen: nothing is taken back.
  static void add(std::uint64_t now, std::uint64_t& seen, std::uint64_t& total) {
    if (now <= seen) return;
    total += now - seen;
    seen = now;
  }

  Seen seen_;
};

}  // namespace penstock::control
