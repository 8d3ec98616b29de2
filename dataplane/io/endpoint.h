#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::io {

/// An IPv4 or IPv6 address with a port: where datagrams go, or come from. A value: comparable, copyable, printable.
/// An IPv4-mapped IPv6 address (::ffff:a.b.c.d) *is* the IPv4 address, so one peer never has two faces, whichever kind
/// of socket met it. The scope id is kept for link-local addresses alone; elsewhere it means nothing and is 0.
class Endpoint {
 public:
  /// [::]:0, "any address, any port".
  Endpoint() = default;
  static Endpoint v4(std::array<std::uint8_t, 4> address, std::uint16_t port);
  static Endpoint v6(const std::array<std::uint8_t, 16>& address, std::uint16_t port, std::uint32_t scope_id = 0);

  /// Numeric only, nothing is resolved: `192.0.2.1:7440`, `[2001:db8::1]:7440`, `[fe80::1%eth0]:7440`, `[fe80::1%2]:7`.
  /// nullopt when it is not exactly that, the port is missing or above 65535, or the zone names no interface.
  static std::optional<Endpoint> parse(std::string_view text);
  /// nullopt for a family other than AF_INET and AF_INET6, or a short length.
  static std::optional<Endpoint> from_sockaddr(const sockaddr* address, socklen_t length);

  /// What `parse` reads; the zone as an interface name where it has one.
  [[nodiscard]] std::string to_string() const;
  /// The address alone, without brackets and port.
  [[nodiscard]] std::string address_string() const;

  [[nodiscard]] bool is_v4() const;
  /// 0.0.0.0 or [::].
  [[nodiscard]] bool is_wildcard() const;
  /// 127.0.0.0/8 or ::1.
  [[nodiscard]] bool is_loopback() const;
  /// 169.254.0.0/16 or fe80::/10.
  [[nodiscard]] bool is_link_local() const;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::uint32_t scope_id() const { return scope_id_; }
  /// 16 bytes in network order; an IPv4 address in its mapped form.
  [[nodiscard]] const std::array<std::uint8_t, 16>& bytes() const { return address_; }
  [[nodiscard]] Endpoint with_port(std::uint16_t port) const;

  /// AF_INET for IPv4, AF_INET6 for IPv6. Returns the length used.
  socklen_t to_sockaddr(sockaddr_storage& out) const;
  /// For a socket of the given family (AF_INET or AF_INET6): IPv4 goes to an AF_INET6 socket in its mapped form.
  /// nullopt: such a socket can not reach it (IPv6 by an AF_INET socket).
  [[nodiscard]] std::optional<socklen_t> to_sockaddr_for(int family, sockaddr_storage& out) const;

  auto operator<=>(const Endpoint&) const = default;

 private:
  std::array<std::uint8_t, 16> address_{};
  std::uint16_t port_ = 0;
  std::uint32_t scope_id_ = 0;
};

}  // namespace penstock::io

template <>
struct std::hash<penstock::io::Endpoint> {
  std::size_t operator()(const penstock::io::Endpoint& endpoint) const noexcept;
};
