#pragma once

#include <cstdint>

namespace penstock::engine {

/// Packets of which is known what became of them.
struct LossTally {
  std::uint64_t packets = 0;  // arrived or lost
  std::uint64_t lost = 0;
  std::uint64_t runs = 0;  // of neighbours lost together

  LossTally& operator+=(const LossTally& other) {
    packets += other.packets;
    lost += other.lost;
    runs += other.runs;
    return *this;
  }
  void halve() { packets /= 2, lost /= 2, runs /= 2; }

  /// The share that was lost, in millionths.
  [[nodiscard]] std::uint64_t ppm() const { return packets == 0 ? 0 : lost * 1'000'000 / packets; }
  /// By how much losses that come in runs make the variance larger than that of single ones. Runs of L: 2 L - 1. Of
  /// fewer than `runs_min` runs nothing is known, so 1.
  [[nodiscard]] std::uint64_t burst_factor(std::uint64_t runs_min = 4) const;
};

/// Rounded down.
[[nodiscard]] std::uint64_t square_root(std::uint64_t n);

/// Draft: LossThresh. One packet in so many, 2 %: less is no word of a full path.
inline constexpr std::uint64_t loss_threshold_divisor = 50;

/// How much more of `more` must be lost than of `less` before chance is no explanation.
struct LossTest {
  std::uint64_t packets_min = 48;  // of either: fewer prove nothing
  std::uint64_t lost_min = 0;      // of `more`: of two or three the deviations below say nothing
  std::uint64_t margin_ppm = 0;
  std::uint64_t deviations = 3;
};

/// `burst_factor`: of what chance loses.
[[nodiscard]] bool is_lost_more(const LossTally& more, const LossTally& less, std::uint64_t burst_factor,
                                const LossTest& test);

}  // namespace penstock::engine
