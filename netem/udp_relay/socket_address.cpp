#include "netem/udp_relay/socket_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <array>
#include <charconv>
#include <cstring>

#include "common/check.h"

namespace penstock::netem {
namespace {

struct Key {
  std::array<unsigned char, 16> address{};
  std::uint16_t port = 0;
};

Key key_of(const sockaddr_storage& storage) {
  Key key;
  if (storage.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &storage, sizeof v4);
    std::memcpy(key.address.data(), &v4.sin_addr, sizeof v4.sin_addr);
    key.port = ntohs(v4.sin_port);
  } else {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &storage, sizeof v6);
    std::memcpy(key.address.data(), &v6.sin6_addr, sizeof v6.sin6_addr);
    key.port = ntohs(v6.sin6_port);
  }
  return key;
}

}  // namespace

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
  const Error refused{ErrorCode::USAGE, fmt::format("'{}' is no address; write 127.0.0.1:PORT or [::1]:PORT", text)};
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return refused;
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size()) return refused;

  std::string host{text.substr(0, colon)};
  sockaddr_storage storage{};
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) return refused;
    std::memcpy(&storage, &v6, sizeof v6);
  } else {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) != 1) return refused;
    std::memcpy(&storage, &v4, sizeof v4);
  }
  return SocketAddress{storage};
}

SocketAddress::SocketAddress(const sockaddr_storage& storage) : storage_(storage) {
  PENSTOCK_CHECK(storage.ss_family == AF_INET || storage.ss_family == AF_INET6);
}

socklen_t SocketAddress::size() const { return family() == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6); }

std::string SocketAddress::to_string() const {
  const Key key = key_of(storage_);
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(family(), key.address.data(), text.data(), text.size());
  return family() == AF_INET ? fmt::format("{}:{}", text.data(), key.port)
                             : fmt::format("[{}]:{}", text.data(), key.port);
}

bool SocketAddress::operator<(const SocketAddress& other) const {
  const Key a = key_of(storage_);
  const Key b = key_of(other.storage_);
  return std::tuple{family(), a.address, a.port} < std::tuple{other.family(), b.address, b.port};
}

}  // namespace penstock::netem
