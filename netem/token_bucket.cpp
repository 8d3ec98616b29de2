#include "netem/token_bucket.h"

#include <algorithm>

#include "common/check.h"

namespace penstock::netem {
namespace {

constexpr std::uint64_t byte_cost = 8 * std::uint64_t{1'000'000'000};

}  // namespace

TokenBucket::TokenBucket(const Policer& policer)
    : rate_(policer.rate.bits_per_second()), most_(Wide{policer.burst} * byte_cost), tokens_(most_) {
  PENSTOCK_CHECK(rate_ > 0 && policer.burst > 0);
}

bool TokenBucket::take(TimePoint now, std::uint64_t bytes) {
  const auto since = static_cast<std::uint64_t>((now - counted_at_).count());
  tokens_ = std::min(most_, tokens_ + Wide{rate_} * since);
  counted_at_ = now;
  const Wide cost = Wide{bytes} * byte_cost;
  if (cost > tokens_) return false;
  tokens_ -= cost;
  return true;
}

}  // namespace penstock::netem
