#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/time.h"

namespace penstock::netem {

/// How late things were, in constant room: 32 buckets per power of two, so a quantile is exact to about 3 %, the
/// maximum to the nanosecond. Pure.
class LatenessHistogram {
 public:
  /// What is early (negative) counts as on time.
  void record(Duration lateness);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] Duration max() const { return max_; }
  /// The smallest bucket bound that `percent` of the values do not pass; nullopt while nothing is recorded.
  /// Requires: percent <= 100.
  [[nodiscard]] std::optional<Duration> percentile(std::uint32_t percent) const;

 private:
  static constexpr unsigned sub_bucket_bits = 5;
  static std::size_t bucket_of(std::uint64_t ns);
  static std::uint64_t bound_of(std::size_t bucket);

  std::array<std::uint64_t, 64U << sub_bucket_bits> buckets_{};
  std::uint64_t count_ = 0;
  Duration max_{0};
};

}  // namespace penstock::netem
