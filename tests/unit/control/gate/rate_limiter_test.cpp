#include "control/gate/rate_limiter.h"

#include <doctest/doctest.h>

#include <array>

using namespace penstock;
using namespace penstock::control;

namespace {
constexpr TimePoint start{std::chrono::hours{5}};
AddressPrefix v4(std::uint64_t n) { return {.value = n, .v6 = false}; }
}  // namespace

TEST_CASE("rate limiter: an address is blocked after its burst of failures, and only that address") {
  RateLimiter limiter;
  for (std::uint32_t i = 0; i < failures_burst; ++i) {
    CHECK_FALSE(limiter.blocked_until(start, v4(1)));
    limiter.on_failure(start, v4(1));
  }
  const auto until = limiter.blocked_until(start, v4(1));
  REQUIRE(until);
  CHECK(*until == start + failure_forgiven_after);
  CHECK_FALSE(limiter.blocked_until(start, v4(2)));
  CHECK(limiter.blocked_until(*until - Duration{1}, v4(1)));
  CHECK_FALSE(limiter.blocked_until(*until, v4(1)));
}

TEST_CASE("rate limiter: failures while blocked do not lengthen the wait without end") {
  RateLimiter limiter;
  for (int i = 0; i < 10000; ++i) limiter.on_failure(start, v4(1));
  CHECK(limiter.blocked_until(start, v4(1)) <= start + failure_forgiven_after);
}

TEST_CASE("rate limiter: remembers a bounded number of addresses and forgets the mildest first") {
  RateLimiter limiter;
  for (std::uint32_t i = 0; i < failures_burst; ++i) limiter.on_failure(start, v4(0));
  for (std::uint64_t n = 1; n < 3 * addresses_remembered_max; ++n) limiter.on_failure(start, v4(n));
  CHECK(limiter.size() == addresses_remembered_max);
  CHECK(limiter.blocked_until(start, v4(0)));
}

TEST_CASE("rate limiter: IPv6 counts by /64, IPv4-mapped as IPv4") {
  std::array<std::byte, 16> a{};
  a[0] = std::byte{0x20};
  auto b = a;
  b[15] = std::byte{9};
  CHECK(prefix_of_address(a) == prefix_of_address(b));
  b[7] = std::byte{1};
  CHECK(prefix_of_address(a) != prefix_of_address(b));
  const std::array<std::byte, 4> v4_bytes{std::byte{192}, std::byte{0}, std::byte{2}, std::byte{1}};
  std::array<std::byte, 16> mapped{};
  mapped[10] = mapped[11] = std::byte{0xff};
  std::copy(v4_bytes.begin(), v4_bytes.end(), mapped.begin() + 12);
  CHECK(prefix_of_address(mapped) == prefix_of_address(v4_bytes));
  CHECK_FALSE(prefix_of_address(mapped).v6);
}
