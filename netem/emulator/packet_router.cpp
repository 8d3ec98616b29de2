#include "netem/emulator/packet_router.h"

#include <algorithm>

namespace penstock::netem {
namespace {

auto find_place(const auto& hosts, const IpAddress& address) {
  return std::lower_bound(hosts.begin(), hosts.end(), address,
                          [](const auto& entry, const IpAddress& wanted) { return entry.first < wanted; });
}

}  // namespace

bool PacketRouter::add(const IpAddress& address, HostIndex host) {
  const auto place = find_place(hosts_, address);
  if (place != hosts_.end() && place->first == address) return false;
  hosts_.insert(place, {address, host});
  return true;
}

std::optional<HostIndex> PacketRouter::route(std::span<const std::byte> packet) const {
  const auto layout = read_ip_layout(packet);
  if (!layout) return std::nullopt;
  const auto place = find_place(hosts_, layout->destination);
  if (place == hosts_.end() || place->first != layout->destination) return std::nullopt;
  return place->second;
}

}  // namespace penstock::netem
