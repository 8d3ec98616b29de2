#include "control/gate/rate_limiter.h"

#include <algorithm>
#include <array>

#include "common/check.h"

namespace penstock::control {
namespace {
std::uint64_t big_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (const auto b : bytes) value = value << 8 | std::to_integer<std::uint64_t>(b);
  return value;
}
}  // namespace

AddressPrefix prefix_of_address(std::span<const std::byte> address) {
  PENSTOCK_CHECK(address.size() == 4 || address.size() == 16);
  if (address.size() == 4) return {.value = big_endian(address), .v6 = false};
  constexpr std::array<std::byte, 12> mapped{
      {{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, std::byte{0xff}, std::byte{0xff}}};
  if (std::ranges::equal(address.first(12), mapped)) return {.value = big_endian(address.last(4)), .v6 = false};
  return {.value = big_endian(address.first(8)), .v6 = true};
}

std::optional<TimePoint> RateLimiter::blocked_until(TimePoint now, AddressPrefix from) const {
  const auto found = forgiven_at_.find(from);
  if (found == forgiven_at_.end()) return std::nullopt;
  // With n failures unforgiven the last is forgiven n intervals from now: full at `failures_burst` of them.
  const TimePoint free_at = found->second - failure_forgiven_after * (failures_burst - 1);
  if (free_at <= now) return std::nullopt;
  return free_at;
}

void RateLimiter::on_failure(TimePoint now, AddressPrefix from) {
  const auto found = forgiven_at_.find(from);
  if (found != forgiven_at_.end()) {
    const TimePoint counted = std::max(found->second, now) + failure_forgiven_after;
    // No deeper debt than a full bucket: blocked attempts that raced in do not lock an address out for hours.
    found->second = std::min(counted, now + failure_forgiven_after * failures_burst);
    return;
  }
  if (forgiven_at_.size() >= addresses_remembered_max) {
    std::erase_if(forgiven_at_, [now](const auto& entry) { return entry.second <= now; });
    if (forgiven_at_.size() >= addresses_remembered_max)
      forgiven_at_.erase(std::ranges::min_element(forgiven_at_, {}, [](const auto& entry) { return entry.second; }));
  }
  forgiven_at_.emplace(from, now + failure_forgiven_after);
}

}  // namespace penstock::control
