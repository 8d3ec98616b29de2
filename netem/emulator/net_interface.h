#pragma once

#include <cstdint>
#include <string>

#include "common/result.h"
#include "common/unique_fd.h"
#include "netem/emulator/ip_packet.h"

namespace penstock::netem {

struct InterfaceAddress {
  IpAddress address{};
  bool is_v4 = true;
  std::uint8_t prefix_length = 24;
  bool operator==(const InterfaceAddress&) const = default;
};

/// One network device of the namespace in which this was made, over rtnetlink(7): a netlink socket stays in its
/// namespace, so no later call has to go there again. Threads: one owner.
class NetInterface {
 public:
  /// Requires: the calling thread is in the namespace of the device.
  static Result<NetInterface> find(const std::string& device);

  [[nodiscard]] std::uint32_t index() const { return index_; }
  /// MTU and transmit queue length, and no IPv6 link-local address: the lab's hosts say nothing that nobody asked for.
  Status configure(std::uint32_t mtu, std::uint32_t queue_packets);
  Status add(const InterfaceAddress& address);
  Status bring_up();
  /// Packets that found the transmit queue full, since the device was made.
  Result<std::uint64_t> tx_dropped();

 private:
  NetInterface(UniqueFd netlink, std::uint32_t index) : netlink_(std::move(netlink)), index_(index) {}

  UniqueFd netlink_;
  std::uint32_t index_;
};

}  // namespace penstock::netem
