#include "tools/cli/remote.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/escape.h"
#include "tools/cli/values.h"

namespace penstock::tools {
namespace {

inline constexpr std::size_t host_size_max = 253;  // RFC 1035 section 2.3.4, without the final dot
inline constexpr std::size_t zone_size_max = 32;   // IFNAMSIZ is 16; a number may stand for a name
inline constexpr std::size_t name_size_max = 64;
inline constexpr std::size_t quoted_max = 160;
inline constexpr std::string_view scheme = "penstock://";

Error usage(std::string message) { return Error{ErrorCode::USAGE, std::move(message)}; }

std::string in_ticks(std::string_view text) { return fmt::format("`{}`", escape_for_display(text, quoted_max)); }

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_label_character(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';
}
bool is_label(std::string_view text, std::size_t size_max) {
  return !text.empty() && text.size() <= size_max && text.front() != '-' && text.front() != '.' &&
         std::ranges::all_of(text, is_label_character);
}

bool is_ipv4(const std::string& text) {
  in_addr address{};
  return inet_pton(AF_INET, text.c_str(), &address) == 1;
}
bool is_ipv6(const std::string& text) {
  in6_addr address{};
  return inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

/// What stands between brackets: IPv6, perhaps with %zone. nullopt when it is something else.
std::optional<std::string> ipv6_with_zone(std::string_view inside) {
  const std::size_t percent = inside.find('%');
  if (inside.find('\0') != std::string_view::npos || !is_ipv6(std::string{inside.substr(0, percent)}))
    return std::nullopt;
  if (percent != std::string_view::npos && !is_label(inside.substr(percent + 1), zone_size_max)) return std::nullopt;
  return std::string{inside};
}

/// Takes [NAME@]HOST from the front of `rest`.
Result<HostWords> take_host(std::string_view& rest, std::string_view whole) {
  HostWords out;
  const std::size_t at = rest.find('@');
  if (at != std::string_view::npos && at < rest.find_first_of(":/[")) {
    out.name = rest.substr(0, at);
    if (!is_label(out.name, name_size_max))
      return usage(
          fmt::format("the name before `@` in {} is made of letters, digits, `.`, `_` and `-`", in_ticks(whole)));
    rest.remove_prefix(at + 1);
  }
  if (rest.starts_with('[')) {
    const std::size_t close = rest.find(']');
    auto host = close == std::string_view::npos ? std::nullopt : ipv6_with_zone(rest.substr(1, close - 1));
    if (!host)
      return usage(
          fmt::format("{} has no IPv6 address between its brackets; write one such as [2001:db8::7] or "
                      "[fe80::1%eth0]",
                      in_ticks(whole)));
    out.host = std::move(*host);
    rest.remove_prefix(close + 1);
    return out;
  }
  const std::size_t end = std::min(rest.find_first_of(":/"), rest.size());
  out.host = rest.substr(0, end);
  if (!is_label(out.host, host_size_max))
    return usage(
        fmt::format("{} names no host; write HOST:/PATH, where HOST is a name or an address", in_ticks(whole)));
  rest.remove_prefix(end);
  return out;
}

/// Takes `:PORT` if digits follow up to `stop` or the end. False when there are digits that are no port.
bool take_port(std::string_view& rest, char stop, std::optional<std::uint16_t>& port) {
  if (!rest.starts_with(':')) return true;
  std::size_t end = 1;
  while (end < rest.size() && is_digit(rest[end])) ++end;
  if (end == 1 || (end < rest.size() && rest[end] != stop)) return true;
  const auto number = parse_number(rest.substr(1, end - 1), 1, 65535);
  if (!number) return false;
  port = static_cast<std::uint16_t>(*number);
  rest.remove_prefix(end);
  return true;
}

Error bad_port(std::string_view whole) {
  return usage(fmt::format("the port in {} is not a number from 1 to 65535", in_ticks(whole)));
}

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  const int lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// RFC 3986 section 2.1. nullopt for a broken escape.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_value(text[i + 1]);
    const int low = hex_value(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

Result<RemoteWords> parse_url(std::string_view whole) {
  std::string_view rest = whole.substr(scheme.size());
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos)
    return usage(fmt::format("{} has no path; write penstock://HOST/PATH", in_ticks(whole)));
  const std::string_view authority = rest.substr(0, slash);
  const std::string_view path = rest.substr(slash);
  if (authority.find('@') != std::string_view::npos)
    return usage(fmt::format("{} names a user; only the form NAME@HOST:/PATH does", in_ticks(whole)));
  if (path.find_first_of("?#") != std::string_view::npos)
    return usage(fmt::format("{} has a bare `?` or `#`; in a path they are written %3F and %23", in_ticks(whole)));
  // RFC 6874 section 2 writes a zone as %25eth0.
  const auto decoded_authority = percent_decoded(authority);
  std::string authority_text =
      decoded_authority && authority.starts_with('[') ? *decoded_authority : std::string{authority};
  std::string_view left = authority_text;
  auto host = take_host(left, whole);
  if (!host) return host.error();
  if (!take_port(left, '\0', host->port)) return bad_port(whole);
  if (!left.empty()) return usage(fmt::format("{} is no address; write penstock://HOST[:PORT]/PATH", in_ticks(whole)));
  const auto decoded = percent_decoded(path);
  if (!decoded) return usage(fmt::format("{} has a `%` that two hexadecimal digits do not follow", in_ticks(whole)));
  // A name can hold neither, so there is nothing that they could mean (RFC 3986 section 2.2: %2F is data, not a
  // divider).
  const bool hidden_slash = std::ranges::count(*decoded, '/') != std::ranges::count(path, '/');
  if (hidden_slash || decoded->find('\0') != std::string::npos)
    return usage(fmt::format("{} has %2F or %00, which no name can hold", in_ticks(whole)));
  return RemoteWords{std::move(*host), *decoded};
}

}  // namespace

Result<RemoteWords> parse_remote(std::string_view text) {
  if (text.starts_with(scheme)) return parse_url(text);
  if (text.find('\0') != std::string_view::npos) return usage(fmt::format("{} holds a NUL", in_ticks(text)));
  // Many colons and hexadecimal digits only: an IPv6 address whose brackets were forgotten.
  if (const std::size_t end = text.find(":/");
      end != std::string_view::npos && is_ipv6(std::string{text.substr(0, end)}))
    return usage(fmt::format("{} has an IPv6 address without brackets; write [{}]{}", in_ticks(text),
                             text.substr(0, end), escape_for_display(text.substr(end), quoted_max)));
  std::string_view rest = text;
  auto host = take_host(rest, text);
  if (!host) return host.error();
  const std::string_view host_words = text.substr(0, text.size() - rest.size());
  if (rest.empty() || rest.starts_with('/'))
    return usage(fmt::format("{} is not remote; write {}:/PATH", in_ticks(text), host_words));
  if (!take_port(rest, ':', host->port)) return bad_port(text);
  const std::string_view address = text.substr(0, text.size() - rest.size());
  if (rest.starts_with("::/"))
    return usage(fmt::format("the port in {} is empty; write {}{}", in_ticks(text), address,
                             escape_for_display(rest.substr(1), quoted_max)));
  if (!rest.starts_with(":/")) {
    while (rest.starts_with(':')) rest.remove_prefix(1);
    return usage(fmt::format("the path of {} lacks its `/`; write {}:/{}", in_ticks(text), address,
                             rest.empty() ? "PATH" : escape_for_display(rest, quoted_max)));
  }
  return RemoteWords{std::move(*host), std::string{rest.substr(1)}};
}

Result<HostWords> parse_host(std::string_view text) {
  if (is_ipv6(std::string{text.substr(0, text.find('\0'))}))
    return usage(fmt::format("{} is an IPv6 address without brackets; write [{}]", in_ticks(text), text));
  std::string_view rest = text;
  auto host = take_host(rest, text);
  if (!host) return host.error();
  if (!take_port(rest, '\0', host->port)) return bad_port(text);
  if (!rest.empty())
    return usage(fmt::format("{} is not a host; write HOST or HOST:PORT, without a path", in_ticks(text)));
  return host;
}

Result<control::ListenAddress> parse_listen(std::string_view text) {
  const auto refuse = [&] {
    return usage(
        fmt::format("{} is not an address to listen on; write a numeric one with its port, such as 0.0.0.0:7440, "
                    "[::]:7440 or 127.0.0.1:0",
                    in_ticks(text)));
  };
  control::ListenAddress out;
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return refuse();
  const std::string_view address = text.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']')) {
    auto inside = ipv6_with_zone(address.substr(1, address.size() - 2));
    if (!inside) return refuse();
    out.address = std::move(*inside);
  } else {
    if (address.find('\0') != std::string_view::npos || !is_ipv4(std::string{address})) return refuse();
    out.address = address;
  }
  const auto port = parse_number(text.substr(colon + 1), 0, 65535);
  if (!port) return refuse();
  out.port = static_cast<std::uint16_t>(*port);
  return out;
}

std::string show_host(const HostWords& host) {
  std::string out = host.name.empty() ? "" : host.name + "@";
  out += host.host.find(':') == std::string::npos ? host.host : "[" + host.host + "]";
  if (host.port) out += fmt::format(":{}", *host.port);
  return out;
}

}  // namespace penstock::tools
