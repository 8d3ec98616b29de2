#pragma once

#include <cstdint>

#include "common/time.h"
#include "netem/link_settings.h"

namespace penstock::netem {

/// Decides at a policer which packet passes. Tokens of a byte each come at its rate, at most its burst of them are
/// kept, and that many are there at first. A packet that finds a token for every byte takes them; another takes none.
/// Source: RFC 2697 with the committed burst alone, which is what Linux' act_police does with one rate.
/// Exact, for nothing is rounded: in no time t does more than burst + rate x t pass, and nothing is turned away that
/// would stay within it. Threads: one owner. Time: passed in, never decreasing.
class TokenBucket {
 public:
  explicit TokenBucket(const Policer& policer);

  /// Whether `bytes` pass at `now`.
  [[nodiscard]] bool take(TimePoint now, std::uint64_t bytes);

 private:
  __extension__ using Wide = unsigned __int128;

  // Bits x 10^9: what a rate in bits a second earns in a time in nanoseconds.
  std::uint64_t rate_;
  Wide most_;
  Wide tokens_;
  TimePoint counted_at_{};
};

}  // namespace penstock::netem
