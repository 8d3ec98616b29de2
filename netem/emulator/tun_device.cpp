#include "netem/emulator/tun_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "common/check.h"

namespace penstock::netem {
namespace {

constexpr const char* tun_path = "/dev/net/tun";

Error failed(ErrorCode code, std::string message) { return {code, std::move(message)}; }

Status enter(const std::string& path) {
  const UniqueFd space{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!space) return error_from_errno(errno, "open the network namespace", path);
  if (setns(space.get(), CLONE_NEWNET) == 0) return {};
  if (errno == EPERM) {
    return failed(ErrorCode::PERMISSION_DENIED,
                  fmt::format("no permission to enter the network namespace {}: run as root, or in the user namespace "
                              "that owns it (unshare --map-root-user)",
                              path));
  }
  if (errno == EINVAL) return failed(ErrorCode::USAGE, fmt::format("{} is no network namespace", path));
  return error_from_errno(errno, "enter the network namespace", path);
}

Result<UniqueFd> open_tun() {
  UniqueFd fd{open(tun_path, O_RDWR | O_NONBLOCK | O_CLOEXEC)};
  if (fd) return fd;
  const int reason = errno;
  if (reason == ENOENT || reason == ENODEV || reason == ENXIO) {
    return failed(
        ErrorCode::NOT_FOUND,
        fmt::format("there is no {0}: load the kernel's tun module (modprobe tun), or make the node in a "
                    "container (mkdir -p /dev/net; mknod {0} c 10 200), or start the container with --device {0}",
                    tun_path));
  }
  if (reason == EACCES || reason == EPERM) {
    return failed(ErrorCode::PERMISSION_DENIED,
                  fmt::format("no permission to open {0}: run as root, or let the user read and write it; in a "
                              "container allow the device (--device {0})",
                              tun_path));
  }
  return error_from_errno(reason, "open", tun_path);
}

}  // namespace

Result<TunDevice> TunDevice::open(const TunConfig& config) {
  // A thread's network namespace is its own; this one takes the detour and ends. What it opened stays where it was
  // opened.
  std::optional<Result<TunDevice>> opened;
  std::thread{[&] {
    const Status entered = enter(config.namespace_path);
    opened.emplace(entered ? open_here(config) : Result<TunDevice>{entered.error()});
  }}.join();
  PENSTOCK_CHECK(opened.has_value());
  return std::move(*opened);
}

Result<TunDevice> TunDevice::open_here(const TunConfig& config) {
  auto fd = open_tun();
  if (!fd) return std::move(fd).error();
  ifreq request{};
  if (config.device.size() >= sizeof request.ifr_name) {
    return failed(ErrorCode::USAGE, fmt::format("the device name '{}' is longer than 15 characters", config.device));
  }
  config.device.copy(request.ifr_name, config.device.size());
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (ioctl(fd->get(), TUNSETIFF, &request) != 0) {
    if (errno == EPERM) {
      return failed(ErrorCode::PERMISSION_DENIED,
                    fmt::format("no permission to make the device {} in {}: CAP_NET_ADMIN is needed there",
                                config.device, config.namespace_path));
    }
    if (errno == EBUSY || errno == EEXIST) {
      return failed(ErrorCode::IO_ERROR, fmt::format("there is a device {} in {} already: name another with device=",
                                                     config.device, config.namespace_path));
    }
    return error_from_errno(errno, "make the device", config.device);
  }
  auto interface = NetInterface::find(config.device);
  if (!interface) return std::move(interface).error();
  if (Status status = interface->configure(config.mtu, config.queue_packets); !status) return std::move(status).error();
  for (const InterfaceAddress& address : config.addresses) {
    if (Status status = interface->add(address); !status) return std::move(status).error();
  }
  if (Status status = interface->bring_up(); !status) return std::move(status).error();
  return TunDevice{std::move(fd).value(), std::move(interface).value()};
}

}  // namespace penstock::netem
