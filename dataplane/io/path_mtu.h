#pragma once

#include <cstddef>

#include "common/result.h"
#include "dataplane/io/endpoint.h"

namespace penstock::io {

/// Bytes of IP and UDP headers on the way to `to`: 28 for IPv4, 48 for IPv6. SenderConfig's ip_overhead.
[[nodiscard]] std::size_t ip_overhead(const Endpoint& to);

// Tuning: the MTU that is believed unasked. Loopback and jumbo interfaces offer more, but that says nothing of the path
// behind them; larger sizes are for --mtu and the PMTU search.
inline constexpr std::size_t mtu_believed = 1500;

/// Largest UDP payload that the outgoing interface towards `to` carries in one piece, never above what an IP packet of
/// `mtu_cap` bytes holds and never below engine::udp_payload_min. No datagram is sent.
/// Error: IO_ERROR when there is no route.
Result<std::size_t> udp_payload_towards(const Endpoint& to, std::size_t mtu_cap = mtu_believed);

}  // namespace penstock::io
