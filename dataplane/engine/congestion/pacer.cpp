#include "dataplane/engine/congestion/pacer.h"

#include <algorithm>

#include "common/check.h"

namespace penstock::engine {
namespace {
constexpr DataRate fast = DataRate::megabits_per_second(2000);
constexpr Duration burst_time = std::chrono::microseconds{250};
constexpr Duration burst_time_fast = std::chrono::milliseconds{1};
constexpr std::uint64_t burst_max = 64 * KiB;
constexpr std::uint64_t burst_max_fast = 1 * MiB;  // 16 batches, after which ACKs are read (PROTOCOL section 4)
}  // namespace

std::uint64_t Pacer::burst() const {
  const std::uint64_t bytes = rate_ > fast ? std::min(burst_max_fast, rate_.bytes_in(burst_time_fast))
                                           : std::min(burst_max, rate_.bytes_in(burst_time));
  return std::max(2 * packet_bytes_, bytes);
}

std::int64_t Pacer::level(TimePoint now) const {
  const auto bucket = static_cast<std::int64_t>(burst());
  if (!started_) return bucket;
  // An hour pays any debt back; longer would only risk the product.
  const Duration since = std::clamp<Duration>(now - at_, Duration{}, std::chrono::hours{1});
  return std::min(bucket, level_ + static_cast<std::int64_t>(rate_.bytes_in(since)));
}

void Pacer::set_rate(TimePoint now, DataRate rate) {
  PENSTOCK_CHECK(rate > DataRate{});
  if (rate == rate_) return;
  if (started_) {
    level_ = level(now);
    at_ = now;
  }
  rate_ = rate;
}

std::uint64_t Pacer::available(TimePoint now) const {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, level(now)));
}

void Pacer::on_sent(TimePoint now, std::uint64_t bytes) {
  level_ = level(now) - static_cast<std::int64_t>(bytes);
  at_ = now;
  started_ = true;
}

std::uint64_t Pacer::worthwhile() const { return std::max(packet_bytes_, std::min(burst_max, burst() / 2)); }

TimePoint Pacer::ready_at(TimePoint now) const {
  const auto wanted = static_cast<std::int64_t>(worthwhile());
  const std::int64_t have = level(now);
  if (have >= wanted) return now;
  // One nanosecond more than the division says: time_for rounds down, and waking a hair too early would spin.
  return now + rate_.time_for(static_cast<std::uint64_t>(wanted - have)) + Duration{1};
}

}  // namespace penstock::engine
