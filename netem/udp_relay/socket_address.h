#pragma once

#include <sys/socket.h>

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

#include "common/result.h"

namespace penstock::netem {

/// An IPv4 or IPv6 address with a port, in the kernel's form; comparable, so that it can key a map.
class SocketAddress {
 public:
  /// `127.0.0.1:7440`, `[::1]:7440`; numbers only, no names, no zones. Errors are USAGE.
  static Result<SocketAddress> parse(std::string_view text);
  /// What recvmsg or getsockname filled in. Requires: an AF_INET or AF_INET6 address.
  explicit SocketAddress(const sockaddr_storage& storage);

  [[nodiscard]] int family() const { return storage_.ss_family; }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  [[nodiscard]] socklen_t size() const;
  [[nodiscard]] std::string to_string() const;

  /// By family, address and port; flow labels and scopes do not count.
  bool operator<(const SocketAddress& other) const;

 private:
  sockaddr_storage storage_{};
};

}  // namespace penstock::netem
