#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include "common/time.h"

namespace penstock::control {

/// Whom failures are counted against: one IPv4 address, or one IPv6 /64, since a host owns a whole one.
struct AddressPrefix {
  std::uint64_t value = 0;
  bool v6 = false;
  auto operator<=>(const AddressPrefix&) const = default;
};
/// From 4 or 16 bytes in network order; an IPv4-mapped IPv6 address counts as the IPv4 address.
/// Requires: one of the two sizes.
AddressPrefix prefix_of_address(std::span<const std::byte> address);

// Tuning: ours alone. A person mistyping a token needs a handful of tries; secrets have 256 bits, so the limit only
// spares the daemon's CPU and log. Lower locks out people behind one NAT, higher fills logs.
inline constexpr std::uint32_t failures_burst = 20;
inline constexpr Duration failure_forgiven_after = std::chrono::seconds{10};  // one each
inline constexpr std::size_t addresses_remembered_max = 4096;

/// Counts failed enrolments per address: after `failures_burst` of them an address must wait, and one is
/// forgiven every `failure_forgiven_after`.
/// Bound: `addresses_remembered_max` entries; when full, the one whose failures are forgiven first is dropped.
/// Time: passed in; never decreases. Threads: one owner.
class RateLimiter {
 public:
  /// nullopt when an attempt may go on; else when to come again.
  [[nodiscard]] std::optional<TimePoint> blocked_until(TimePoint now, AddressPrefix from) const;
  void on_failure(TimePoint now, AddressPrefix from);
  [[nodiscard]] std::size_t size() const { return forgiven_at_.size(); }

 private:
  // When the last of this address's failures is forgiven: the whole state of a leaky bucket (GCRA).
  std::map<AddressPrefix, TimePoint> forgiven_at_;
};

}  // namespace penstock::control
