#pragma once

#include <algorithm>
#include <cstdint>

namespace penstock::engine {

/// The share of packets that the path loses, over the last some thousand of them: sums that are halved again and again.
/// Integers. Threads: one owner.
class LossMeter {
 public:
  /// Tuning: shorter is more scatter (one sigma at 5 % is a twentieth of it), longer is later.
  static constexpr std::uint64_t packets_max = 8192;
  /// So few losses may be chance, an overrun queue at the start, or reordering not yet seen to be it.
  static constexpr std::uint64_t losses_min = 3;

  void on_acked(std::uint64_t packets) { add(packets, 0); }
  void on_lost(std::uint64_t packets) { add(packets, packets); }
  /// They were not lost after all.
  void on_spurious(std::uint64_t packets) { lost_ -= std::min(lost_, packets); }

  /// In millionths; zero while there were hardly any.
  [[nodiscard]] std::uint32_t loss_ppm() const {
    if (lost_ < losses_min) return 0;
    return static_cast<std::uint32_t>(lost_ * 1'000'000 / all_);
  }

 private:
  void add(std::uint64_t packets, std::uint64_t lost) {
    all_ += packets;
    lost_ += lost;
    while (all_ >= packets_max) {
      all_ /= 2;
      lost_ /= 2;
    }
  }

  std::uint64_t all_ = 0;
  std::uint64_t lost_ = 0;
};

}  // namespace penstock::engine
