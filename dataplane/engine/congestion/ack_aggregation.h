#pragma once

#include <algorithm>
#include <cstdint>

#include "common/time.h"

namespace penstock::engine {

/// How much more is acknowledged in one lump than the bandwidth explains: so much has to be in flight on top, or the
/// sender falls silent between two lumps. Bytes, the largest of the last ten round trips or so.
/// Source: draft-ietf-ccwg-bbr section "BBR.extra_acked". Threads: one owner.
class AckAggregation {
 public:
  /// `bandwidth` in bytes a second; no more than `cwnd` is ever believed.
  void on_acked(TimePoint now, std::uint64_t bytes, std::uint64_t bandwidth, std::uint64_t cwnd) {
    __extension__ using Wide = unsigned __int128;
    const auto since = static_cast<std::uint64_t>(std::max<Duration>(now - since_, Duration{}).count());
    auto expected =
        static_cast<std::uint64_t>(std::min<Wide>(Wide{bandwidth} * since / 1'000'000'000, std::uint64_t{1} << 62));
    if (acked_ <= expected) {
      acked_ = 0;
      since_ = now;
      expected = 0;
    }
    acked_ += bytes;
    now_ = std::max(now_, std::min(acked_ - std::min(acked_, expected), cwnd));
  }
  /// A round trip is over; `keep` of them make half of the memory.
  void on_round(std::uint32_t keep) {
    if (++rounds_ < keep) return;
    rounds_ = 0;
    before_ = now_;
    now_ = 0;
  }
  [[nodiscard]] std::uint64_t extra() const { return std::max(now_, before_); }

 private:
  TimePoint since_{};
  std::uint64_t acked_ = 0;
  std::uint64_t now_ = 0;
  std::uint64_t before_ = 0;
  std::uint32_t rounds_ = 0;
};

}  // namespace penstock::engine
