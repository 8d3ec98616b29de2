#include "dataplane/engine/congestion/fixed.h"

#include <algorithm>

namespace penstock::engine {
namespace {
constexpr Duration slack = std::chrono::milliseconds{100};  // ACK delays, timers and a scheduler's hiccups
constexpr std::uint64_t window_min = 64 * KiB;              // one GSO batch
constexpr Duration rtt_max = std::chrono::seconds{10};      // keeps the product far from 2^64
}  // namespace

Fixed::Fixed(DataRate rate, Duration initial_rtt) : rate_(rate), cwnd_(window_for(initial_rtt)) {}

void Fixed::on_packets_acked(const AckedSample&, const RttEstimator& rtt) { cwnd_ = window_for(rtt.smoothed()); }

std::uint64_t Fixed::window_for(Duration rtt) const {
  return std::max(window_min, rate_.bytes_in(2 * std::min(rtt, rtt_max) + slack));
}

}  // namespace penstock::engine
