#pragma once

#include <cstddef>
#include <optional>

#include "common/result.h"
#include "dataplane/io/endpoint.h"

namespace penstock::io {

/// Bytes of IP and UDP headers on the way to `to`: 28 for IPv4, 48 for IPv6. SenderConfig's ip_overhead.
[[nodiscard]] std::size_t ip_overhead(const Endpoint& to);

// An interface that offers as much is no wire (loopback). Datagrams of 64 KiB are all or nothing there, and batches
// make up for smaller ones; so the usual size is taken, unless asked for more.
inline constexpr std::size_t mtu_of_no_wire = 65535;
inline constexpr std::size_t mtu_usual = 1500;

/// Largest UDP payload that the outgoing interface towards `to` carries in one piece: where the PMTU search ends. Never
/// above what an IP packet of `mtu_cap` bytes holds and never below engine::udp_payload_min. No datagram is sent. What
/// ICMP told the kernel about the path has no say.
/// Error: IO_ERROR when there is no route.
Result<std::size_t> udp_payload_towards(const Endpoint& to, std::optional<std::size_t> mtu_cap = std::nullopt);

}  // namespace penstock::io
