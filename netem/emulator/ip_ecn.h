#pragma once

#include <cstddef>
#include <span>

namespace penstock::netem {

/// The ECN field of an IP packet (RFC 3168 section 5): whether its sender heeds marks. Requires: a whole IPv4 or IPv6
/// packet (read_ip_layout).
[[nodiscard]] bool heeds_marks(std::span<const std::byte> packet);
/// Sets CE, and repairs the checksum of an IPv4 header. Requires: as heeds_marks.
void mark_congested(std::span<std::byte> packet);

}  // namespace penstock::netem
