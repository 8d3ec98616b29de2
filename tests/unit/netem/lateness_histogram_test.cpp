#include "netem/emulator/lateness_histogram.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "common/random.h"

namespace penstock::netem {
namespace {

TEST_CASE("lateness histogram: empty, it has no quantiles") {
  const LatenessHistogram histogram;
  CHECK(histogram.count() == 0);
  CHECK_FALSE(histogram.percentile(50));
}

TEST_CASE("lateness histogram: quantiles are at most 1 part in 32 above the true ones, and never below") {
  Rng luck{3};
  LatenessHistogram histogram;
  std::vector<std::int64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    // Spread over all magnitudes.
    const auto value = static_cast<std::int64_t>(luck.next() >> (1 + luck.below(63)));
    values.push_back(value);
    histogram.record(Duration{value});
  }
  std::sort(values.begin(), values.end());
  for (std::uint32_t percent = 1; percent <= 100; ++percent) {
    const std::int64_t exact = values[(values.size() * percent + 99) / 100 - 1];
    const auto found = histogram.percentile(percent);
    REQUIRE(found);
    REQUIRE(found->count() >= exact);
    REQUIRE(found->count() - exact <= exact / 32);
  }
  CHECK(histogram.percentile(100)->count() == values.back());
  CHECK(histogram.max().count() == values.back());
}

TEST_CASE("lateness histogram: small values are exact, early ones are on time") {
  LatenessHistogram histogram;
  for (const int value : {-5, 0, 7, 63}) histogram.record(Duration{value});
  CHECK(histogram.percentile(50) == Duration{0});
  CHECK(histogram.percentile(75) == Duration{7});
  CHECK(histogram.percentile(100) == Duration{63});
}

}  // namespace
}  // namespace penstock::netem
