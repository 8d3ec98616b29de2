#include "dataplane/io/endpoint.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

namespace penstock::io {
namespace {

constexpr std::size_t mapped_prefix_size = 12;
constexpr std::array<std::uint8_t, mapped_prefix_size> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

template <class Number>
std::optional<Number> parse_decimal(std::string_view text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// inet_pton wants a terminated string; nothing it accepts is longer than this.
std::optional<std::array<char, INET6_ADDRSTRLEN>> terminated(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> out{};
  // An embedded NUL would end the string early and hide what follows it.
  if (text.size() >= out.size() || text.find('\0') != std::string_view::npos) return std::nullopt;
  std::copy(text.begin(), text.end(), out.begin());
  return out;
}

std::optional<std::uint32_t> parse_zone(std::string_view zone) {
  if (const auto index = parse_decimal<std::uint32_t>(zone)) return index;
  if (zone.empty() || zone.size() >= IF_NAMESIZE) return std::nullopt;
  const auto index = ::if_nametoindex(std::string{zone}.c_str());
  if (index == 0) return std::nullopt;
  return index;
}

}  // namespace

Endpoint Endpoint::v4(std::array<std::uint8_t, 4> address, std::uint16_t port) {
  Endpoint out;
  std::copy(mapped_prefix.begin(), mapped_prefix.end(), out.address_.begin());
  std::copy(address.begin(), address.end(), out.address_.begin() + mapped_prefix_size);
  out.port_ = port;
  return out;
}

Endpoint Endpoint::v6(const std::array<std::uint8_t, 16>& address, std::uint16_t port, std::uint32_t scope_id) {
  Endpoint out;
  out.address_ = address;
  out.port_ = port;
  if (!out.is_v4() && out.is_link_local()) out.scope_id_ = scope_id;
  return out;
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = parse_decimal<std::uint16_t>(text.substr(colon + 1));
  if (!port) return std::nullopt;
  auto host = text.substr(0, colon);

  if (host.size() < 2 || host.front() != '[' || host.back() != ']') {
    std::array<std::uint8_t, 4> address{};
    const auto name = terminated(host);
    if (!name || ::inet_pton(AF_INET, name->data(), address.data()) != 1) return std::nullopt;
    return v4(address, *port);
  }
  host = host.substr(1, host.size() - 2);
  std::uint32_t scope_id = 0;
  if (const auto percent = host.find('%'); percent != std::string_view::npos) {
    const auto zone = parse_zone(host.substr(percent + 1));
    if (!zone) return std::nullopt;
    scope_id = *zone;
    host = host.substr(0, percent);
  }
  std::array<std::uint8_t, 16> address{};
  const auto name = terminated(host);
  if (!name || ::inet_pton(AF_INET6, name->data(), address.data()) != 1) return std::nullopt;
  return v6(address, *port, scope_id);
}

std::optional<Endpoint> Endpoint::from_sockaddr(const sockaddr* address, socklen_t length) {
  if (length < sizeof(sa_family_t)) return std::nullopt;
  sa_family_t family = AF_UNSPEC;
  std::memcpy(&family, &address->sa_family, sizeof family);
  if (family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &in.sin_addr, bytes.size());
    return v4(bytes, ntohs(in.sin_port));
  }
  if (family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
    return v6(bytes, ntohs(in.sin6_port), in.sin6_scope_id);
  }
  return std::nullopt;
}

std::string Endpoint::address_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (is_v4()) {
    ::inet_ntop(AF_INET, address_.data() + mapped_prefix_size, text.data(), text.size());
    return text.data();
  }
  ::inet_ntop(AF_INET6, address_.data(), text.data(), text.size());
  if (scope_id_ == 0) return text.data();
  std::array<char, IF_NAMESIZE> zone{};
  if (::if_indextoname(scope_id_, zone.data()) == nullptr) return fmt::format("{}%{}", text.data(), scope_id_);
  return fmt::format("{}%{}", text.data(), zone.data());
}

std::string Endpoint::to_string() const {
  if (is_v4()) return fmt::format("{}:{}", address_string(), port_);
  return fmt::format("[{}]:{}", address_string(), port_);
}

bool Endpoint::is_v4() const { return std::equal(mapped_prefix.begin(), mapped_prefix.end(), address_.begin()); }

bool Endpoint::is_wildcard() const {
  const auto begin = address_.begin() + (is_v4() ? mapped_prefix_size : 0);
  return std::all_of(begin, address_.end(), [](std::uint8_t byte) { return byte == 0; });
}

bool Endpoint::is_loopback() const {
  if (is_v4()) return address_[mapped_prefix_size] == 127;
  return std::all_of(address_.begin(), address_.end() - 1, [](std::uint8_t byte) { return byte == 0; }) &&
         address_.back() == 1;
}

bool Endpoint::is_link_local() const {
  if (is_v4()) return address_[mapped_prefix_size] == 169 && address_[mapped_prefix_size + 1] == 254;
  return address_[0] == 0xfe && (address_[1] & 0xc0) == 0x80;
}

Endpoint Endpoint::with_port(std::uint16_t port) const {
  Endpoint out = *this;
  out.port_ = port;
  return out;
}

socklen_t Endpoint::to_sockaddr(sockaddr_storage& out) const {
  return *to_sockaddr_for(is_v4() ? AF_INET : AF_INET6, out);
}

std::optional<socklen_t> Endpoint::to_sockaddr_for(int family, sockaddr_storage& out) const {
  if (family == AF_INET) {
    if (!is_v4()) return std::nullopt;
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port_);
    std::memcpy(&in.sin_addr, address_.data() + mapped_prefix_size, sizeof in.sin_addr);
    std::memcpy(&out, &in, sizeof in);
    return socklen_t{sizeof in};
  }
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port_);
  in.sin6_scope_id = scope_id_;
  std::memcpy(&in.sin6_addr, address_.data(), sizeof in.sin6_addr);
  std::memcpy(&out, &in, sizeof in);
  return socklen_t{sizeof in};
}

}  // namespace penstock::io

std::size_t std::hash<penstock::io::Endpoint>::operator()(const penstock::io::Endpoint& endpoint) const noexcept {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  std::memcpy(&high, endpoint.bytes().data(), sizeof high);
  std::memcpy(&low, endpoint.bytes().data() + sizeof high, sizeof low);
  std::uint64_t mixed = high ^ endpoint.scope_id();
  for (const std::uint64_t word : {low, std::uint64_t{endpoint.port()}}) {
    mixed = (mixed ^ word) * 0x9e3779b97f4a7c15U;  // 2^64 / golden ratio: spreads the low bits over the word
    mixed ^= mixed >> 32;
  }
  return static_cast<std::size_t>(mixed);
}
