#pragma once

#include <algorithm>
#include <cstdint>

namespace penstock::engine {

/// The largest delivery rate of this probing cycle and the last one, in bytes a second.
/// Source: draft-ietf-ccwg-bbr section "BBR.max_bw Max Filter" (MaxBwFilterLen, two cycles). Threads: one owner.
class BandwidthFilter {
 public:
  void on_sample(std::uint64_t rate) { now_ = std::max(now_, rate); }
  /// A cycle is over. One without a sample ages nothing.
  void advance() {
    if (now_ == 0) return;
    before_ = now_;
    now_ = 0;
  }
  /// All that was measured so far was measured too high.
  void scale(std::uint64_t numerator, std::uint64_t denominator) {
    __extension__ using Wide = unsigned __int128;
    now_ = static_cast<std::uint64_t>(Wide{now_} * numerator / denominator);
    before_ = static_cast<std::uint64_t>(Wide{before_} * numerator / denominator);
  }
  /// Nothing above `rate` is true any more.
  void limit(std::uint64_t rate) {
    now_ = std::min(now_, rate);
    before_ = std::min(before_, rate);
  }
  [[nodiscard]] std::uint64_t maximum() const { return std::max(now_, before_); }

 private:
  std::uint64_t now_ = 0;
  std::uint64_t before_ = 0;
};

}  // namespace penstock::engine
