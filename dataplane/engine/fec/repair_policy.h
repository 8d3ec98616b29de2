#pragma once

#include <cstddef>
#include <cstdint>

#include "common/time.h"

namespace penstock::engine {

/// What both ends agreed on over the control channel: how much repair the sender may send, and how much of what it
/// received the receiver keeps in memory for it.
struct RepairRatio {
  std::uint8_t sources = 0;    // K: symbols of a generation, 128 at most
  std::uint8_t repairs = 0;    // M: repair symbols for so many, 128 at most; 0: none are sent
  std::uint32_t loss_ppm = 0;  // the loss that it answers; 0 where the ratio was given
  std::uint64_t window = 0;    // bytes of transfer space that a generation may reach back
  bool operator==(const RepairRatio&) const = default;
};
/// So little of what is kept is worth asking for, and so much is the most that is promised.
inline constexpr std::uint64_t repair_window_max = std::uint64_t{1} << 30;

/// How many repair symbols `sources` symbols need at this loss, so that one generation in some hundreds fails: the
/// least m with m >= n p + z sqrt(n p (1 - p)) + 1/2, n = sources + m. Where a round trip is cheap z is 2, else 2.75.
/// None without loss; 128 at most.
[[nodiscard]] std::size_t repairs_for(std::size_t sources, std::uint32_t loss_ppm, Duration round_trip);

/// A repair round is cheap below: nothing is protected by itself there.
inline constexpr Duration repair_rtt_min = std::chrono::milliseconds{5};

}  // namespace penstock::engine
