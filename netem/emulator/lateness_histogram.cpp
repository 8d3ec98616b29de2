#include "netem/emulator/lateness_histogram.h"

#include <algorithm>
#include <bit>

#include "common/check.h"

namespace penstock::netem {

void LatenessHistogram::record(Duration lateness) {
  lateness = std::max(lateness, Duration::zero());
  buckets_[bucket_of(static_cast<std::uint64_t>(lateness.count()))] += 1;
  count_ += 1;
  max_ = std::max(max_, lateness);
}

std::optional<Duration> LatenessHistogram::percentile(std::uint32_t percent) const {
  PENSTOCK_CHECK(percent <= 100);
  if (count_ == 0) return std::nullopt;
  __extension__ using Wide = unsigned __int128;
  const auto wanted = static_cast<std::uint64_t>((Wide{count_} * percent + 99) / 100);
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    seen += buckets_[bucket];
    if (seen < std::max<std::uint64_t>(wanted, 1)) continue;
    return std::min(Duration{static_cast<Duration::rep>(bound_of(bucket))}, max_);
  }
  return max_;
}

std::size_t LatenessHistogram::bucket_of(std::uint64_t ns) {
  // Below 2 x 32 every value has a bucket of its own; above, the bucket is (power of two, next five bits).
  constexpr std::uint64_t exact = std::uint64_t{2} << sub_bucket_bits;
  if (ns < exact) return ns;
  const unsigned shift = static_cast<unsigned>(std::bit_width(ns)) - sub_bucket_bits - 1;
  return (std::size_t{shift} << sub_bucket_bits) + (ns >> shift);
}

std::uint64_t LatenessHistogram::bound_of(std::size_t bucket) {
  constexpr std::size_t sub_buckets = std::size_t{1} << sub_bucket_bits;
  if (bucket < 2 * sub_buckets) return bucket;
  const std::size_t shift = (bucket >> sub_bucket_bits) - 1;
  const std::uint64_t leading = bucket - (shift << sub_bucket_bits);
  return ((leading + 1) << shift) - 1;
}

}  // namespace penstock::netem
