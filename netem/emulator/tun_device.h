#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "netem/emulator/net_interface.h"

namespace penstock::netem {

struct TunConfig {
  std::string namespace_path;  // of a network namespace, such as /proc/PID/ns/net
  std::string device = "lab0";
  std::vector<InterfaceAddress> addresses;
  std::uint32_t mtu = 1500;
  std::uint32_t queue_packets = 32768;
};

/// A TUN device in a network namespace, up and with its addresses; it vanishes with this object. Each read is one IP
/// packet that the host sends, each write one that it receives. Without IFF_VNET_HDR the kernel cuts GSO packets up
/// before they come here and checks what goes in, as behind a wire. Threads: one owner.
/// Source: Documentation/networking/tuntap.rst.
class TunDevice {
 public:
  /// Errors name what is missing and how to get it. The calling thread stays in its own namespace.
  static Result<TunDevice> open(const TunConfig& config);

  /// Non-blocking.
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] NetInterface& interface() { return interface_; }
  [[nodiscard]] const NetInterface& interface() const { return interface_; }

 private:
  TunDevice(UniqueFd fd, NetInterface interface) : fd_(std::move(fd)), interface_(std::move(interface)) {}
  static Result<TunDevice> open_here(const TunConfig& config);

  UniqueFd fd_;
  NetInterface interface_;
};

}  // namespace penstock::netem
