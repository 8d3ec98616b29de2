#include "dataplane/engine/congestion/careful_start.h"

#include <algorithm>

namespace penstock::engine {
namespace {
// Beyond any path; they keep the product far from 2^64, whatever a peer remembers.
constexpr Duration rtt_max = std::chrono::seconds{10};
constexpr DataRate rate_max = DataRate::bits_per_second(1'000'000'000'000);
}  // namespace

CarefulStart::CarefulStart(std::uint64_t ordinary_window, std::optional<DataRate> remembered, Duration rtt)
    : ordinary_window_(ordinary_window), window_(ordinary_window) {
  if (!remembered) return;
  const Duration round = std::clamp<Duration>(rtt, Duration{}, rtt_max);
  const std::uint64_t half = std::min(*remembered, rate_max).bytes_in(round) / careful_rate_divisor;
  window_ = std::max(std::min(half, careful_window_max), ordinary_window_);
  if (window_ > ordinary_window_) phase_ = Phase::unvalidated;
}

bool CarefulStart::on_acked(PacketNumber largest, std::uint64_t bytes, std::uint64_t in_flight) {
  if (phase_ == Phase::ordinary) return false;
  arrived_ += bytes;
  if (largest < first_) return false;
  const bool first = phase_ == Phase::unvalidated;
  // Credit, or the source, may have let less leave than was allowed: what did not is not to follow unproven.
  if (first) window_ = std::max(std::min(window_, in_flight + bytes), ordinary_window_);
  phase_ = largest >= last_ ? Phase::ordinary : Phase::validating;
  return first;
}

std::optional<std::uint64_t> CarefulStart::on_lost() {
  if (phase_ == Phase::ordinary) return std::nullopt;
  phase_ = Phase::ordinary;
  return std::max(arrived_ / 2, ordinary_window_);
}

}  // namespace penstock::engine
