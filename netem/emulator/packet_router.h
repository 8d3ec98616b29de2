#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/result.h"
#include "netem/emulator/ip_packet.h"

namespace penstock::netem {

/// A host's place among the `--host` options.
using HostIndex = std::uint32_t;

/// Which host a packet is for: exact addresses, since every host of a lab has its own. Pure.
class PacketRouter {
 public:
  /// False when another host has the address already.
  [[nodiscard]] bool add(const IpAddress& address, HostIndex host);
  /// nullopt for what belongs to no host: multicast, other addresses, no IP packet.
  [[nodiscard]] std::optional<HostIndex> route(std::span<const std::byte> packet) const;

 private:
  std::vector<std::pair<IpAddress, HostIndex>> hosts_;  // sorted by address
};

}  // namespace penstock::netem
