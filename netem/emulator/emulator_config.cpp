#include "netem/emulator/emulator_config.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace penstock::netem {
namespace {

// Specification of IP: 68 is what every IPv4 link carries (RFC 791), 1280 every IPv6 link (RFC 8200 section 5).
constexpr std::uint32_t mtu_min_v4 = 68;
constexpr std::uint32_t mtu_min_v6 = 1280;
constexpr std::uint32_t mtu_max = 65535;
// Tuning. The kernel holds a whole queue of packets (2.3 KB each at an MTU of 1500) in memory that nobody accounts for.
constexpr std::uint32_t tun_queue_max = 1'000'000;
constexpr std::size_t hosts_max = 64;
constexpr std::size_t name_size_max = 32;
constexpr std::size_t device_size_max = 15;  // IFNAMSIZ - 1

Error usage(std::string message) { return {ErrorCode::USAGE, std::move(message)}; }

/// The piece before the first `separator`, and `rest` moved behind it; nullopt without a separator.
std::optional<std::string_view> cut(std::string_view& rest, char separator) {
  const std::size_t at = rest.find(separator);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view piece = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  return piece;
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= name_size_max && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

Result<InterfaceAddress> parse_address(std::string_view text) {
  const Error refused = usage(fmt::format("'{}' is no address; write it like 10.77.0.1/24 or fd77::1/64", text));
  std::string_view digits = text;
  const auto before_slash = cut(digits, '/');
  const std::string host{before_slash.value_or(text)};
  InterfaceAddress address;
  std::array<std::uint8_t, 4> v4{};
  if (inet_pton(AF_INET, host.c_str(), v4.data()) == 1) {
    address.address[10] = address.address[11] = 0xff;
    std::copy(v4.begin(), v4.end(), address.address.begin() + 12);
  } else if (inet_pton(AF_INET6, host.c_str(), address.address.data()) == 1) {
    address.is_v4 = false;
    address.prefix_length = 64;
  } else {
    return refused;
  }
  if (before_slash) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), address.prefix_length);
    if (error != std::errc{} || end != digits.data() + digits.size()) return refused;
    if (address.prefix_length < 1 || address.prefix_length > (address.is_v4 ? 32 : 128)) return refused;
  }
  return address;
}

Result<HostConfig> parse_host(std::string_view text) {
  std::string_view rest = text;
  const auto name = cut(rest, ':');
  if (!name || !is_name(*name)) {
    return usage(
        fmt::format("--host '{}': write it like A:ns=/proc/PID/ns/net,address=10.77.0.1/24 (the name: letters, "
                    "digits, - and _)",
                    text));
  }
  HostConfig host{.name = std::string{*name}, .device = {}};
  while (!rest.empty()) {
    std::string_view value = cut(rest, ',').value_or(rest);
    if (value.data() == rest.data()) rest = {};  // the last piece has no comma behind it
    const auto key = cut(value, '=');
    if (key == "ns" && !value.empty()) {
      host.device.namespace_path = value;
    } else if (key == "device" && !value.empty() && value.size() <= device_size_max) {
      host.device.device = value;
    } else if (key == "address") {
      auto address = parse_address(value);
      if (!address) return usage(fmt::format("--host {}: {}", host.name, address.error().message));
      host.device.addresses.push_back(*address);
    } else {
      return usage(
          fmt::format("--host {}: '{}' is none of ns=FILE, device=NAME (at most 15 characters), "
                      "address=ADDRESS/PREFIX",
                      host.name, key ? fmt::format("{}={}", *key, value) : std::string{value}));
    }
  }
  if (host.device.namespace_path.empty()) return usage(fmt::format("--host {}: ns= is missing", host.name));
  if (host.device.addresses.empty()) return usage(fmt::format("--host {}: address= is missing", host.name));
  return host;
}

Result<LegTarget> parse_target(std::string_view name, std::string_view direction,
                               const std::vector<HostConfig>& hosts) {
  const auto host = std::find_if(hosts.begin(), hosts.end(), [&](const HostConfig& h) { return h.name == name; });
  if (host == hosts.end()) return usage(fmt::format("there is no host '{}'", name));
  LegTarget target{.host = static_cast<HostIndex>(host - hosts.begin()), .directions = {}};
  if (direction == "up" || direction == "both") target.directions.push_back(Direction::up);
  if (direction == "down" || direction == "both") target.directions.push_back(Direction::down);
  if (target.directions.empty()) return usage(fmt::format("'{}' is none of up, down, both", direction));
  return target;
}

LinkSettings& settings_of(LegSettings& leg, Direction direction) {
  return direction == Direction::up ? leg.up : leg.down;
}

Status apply(std::vector<LegSettings>& legs, const LegTarget& target, const LinkWords& words) {
  for (const Direction direction : target.directions) {
    if (Status status = set_link_words(settings_of(legs[target.host], direction), words); !status) return status;
  }
  return {};
}

/// `A:up:rate=10mbit`
Status read_leg(std::string_view text, const std::vector<HostConfig>& hosts, std::vector<LegSettings>& legs) {
  std::string_view rest = text;
  const auto name = cut(rest, ':');
  const auto direction = name ? cut(rest, ':') : std::nullopt;
  if (!direction) return usage("write it like A:up:rate=10mbit,delay=25ms");
  auto target = parse_target(*name, *direction, hosts);
  if (!target) return std::move(target).error();
  auto words = parse_link_words(rest);
  if (!words) return std::move(words).error();
  return apply(legs, *target, *words);
}

/// `A:up@10s:loss=5%`
Result<LegChange> read_change(std::string_view text, const std::vector<HostConfig>& hosts) {
  std::string_view rest = text;
  const auto name = cut(rest, ':');
  const auto direction = name ? cut(rest, '@') : std::nullopt;
  const auto time = direction ? cut(rest, ':') : std::nullopt;
  if (!time) return usage("write it like A:up@10s:loss=5%");
  auto target = parse_target(*name, *direction, hosts);
  if (!target) return std::move(target).error();
  auto after = parse_duration(*time);
  if (!after) return std::move(after).error();
  auto words = parse_link_words(rest);
  if (!words) return std::move(words).error();
  return LegChange{.target = std::move(target).value(),
                   .after = *after,
                   .words = std::move(words).value(),
                   .text = std::string{rest}};
}

Status read_hosts(const EmulatorWords& words, EmulatorConfig& config) {
  if (words.hosts.size() < 2) return usage("a lab has at least two hosts: give --host twice");
  if (words.hosts.size() > hosts_max) return usage(fmt::format("at most {} hosts", hosts_max));
  bool has_v6 = false;
  for (const std::string& text : words.hosts) {
    auto host = parse_host(text);
    if (!host) return std::move(host).error();
    for (const HostConfig& other : config.hosts) {
      if (other.name == host->name) return usage(fmt::format("there are two hosts {}", host->name));
    }
    const auto index = static_cast<HostIndex>(config.hosts.size());
    for (const InterfaceAddress& address : host->device.addresses) {
      has_v6 = has_v6 || !address.is_v4;
      if (!config.hub.router.add(address.address, index)) {
        return usage(fmt::format("--host {}: an address that another one has already", host->name));
      }
    }
    host->device.mtu = words.mtu;
    host->device.queue_packets = words.tun_queue;
    config.hosts.push_back(std::move(host).value());
  }
  const std::uint32_t mtu_min = has_v6 ? mtu_min_v6 : mtu_min_v4;
  if (words.mtu < mtu_min || words.mtu > mtu_max) {
    return usage(fmt::format("--mtu {}: from {} to {}{}", words.mtu, mtu_min, mtu_max, has_v6 ? " with IPv6" : ""));
  }
  if (words.tun_queue == 0 || words.tun_queue > tun_queue_max) {
    return usage(fmt::format("--tun-queue {}: from 1 to {}", words.tun_queue, tun_queue_max));
  }
  return {};
}

Status read_changes(const EmulatorWords& words, EmulatorConfig& config) {
  const auto named = [](const std::string& text, const Error& error) {
    return usage(fmt::format("--change '{}': {}", text, error.message));
  };
  for (const std::string& text : words.changes) {
    auto change = read_change(text, config.hosts);
    if (!change) return named(text, change.error());
    config.changes.push_back(std::move(change).value());
  }
  std::stable_sort(config.changes.begin(), config.changes.end(),
                   [](const LegChange& a, const LegChange& b) { return a.after < b.after; });
  std::vector<LegSettings> legs = config.hub.legs;
  for (const LegChange& change : config.changes) {
    if (Status status = apply(legs, change.target, change.words); !status) return named(change.text, status.error());
  }
  return {};
}

Status read_scalars(const EmulatorWords& words, EmulatorConfig& config) {
  config.hub.seed = words.seed;
  config.hub.packet_size_max = words.mtu;
  auto memory = parse_size(words.memory);
  if (!memory) return usage(fmt::format("--memory: {}", memory.error().message));
  // Duplication needs a second slot; a handful makes every link work at all.
  constexpr std::uint64_t slots_min = 16;
  const std::uint64_t slots = *memory / words.mtu;
  if (slots < slots_min) {
    return usage(fmt::format("--memory {}: at least {} packets of the MTU must fit", words.memory, slots_min));
  }
  config.hub.in_flight_packets = std::min<std::uint64_t>(slots, std::uint64_t{1} << 30);
  if (words.reach == "application") {
    config.hub.reach = CorruptReach::application;
  } else if (words.reach != "kernel") {
    return usage(fmt::format("--corrupt-reach '{}': kernel or application", words.reach));
  }
  if (words.scheduling == "normal") {
    config.scheduling = Scheduling::normal;
  } else if (words.scheduling == "realtime") {
    config.scheduling = Scheduling::realtime;
  } else if (words.scheduling != "auto") {
    return usage(fmt::format("--scheduling '{}': auto, normal or realtime", words.scheduling));
  }
  return {};
}

}  // namespace

std::string_view name_of(Direction direction) { return direction == Direction::up ? "up" : "down"; }

Result<EmulatorConfig> read_emulator_config(const EmulatorWords& words) {
  EmulatorConfig config;
  if (Status status = read_hosts(words, config); !status) return std::move(status).error();
  config.hub.legs.resize(config.hosts.size());
  for (const std::string& text : words.legs) {
    if (Status status = read_leg(text, config.hosts, config.hub.legs); !status) {
      return usage(fmt::format("--leg '{}': {}", text, status.error().message));
    }
  }
  if (Status status = read_changes(words, config); !status) return std::move(status).error();
  if (Status status = read_scalars(words, config); !status) return std::move(status).error();
  return config;
}

Result<LegChange> parse_set(std::string_view text, const std::vector<HostConfig>& hosts) {
  std::string_view rest = text;
  const auto name = cut(rest, ' ');
  const auto direction = name ? cut(rest, ' ') : std::nullopt;
  if (!direction) return usage("write it like: set A up loss=5%");
  auto target = parse_target(*name, *direction, hosts);
  if (!target) return std::move(target).error();
  auto words = parse_link_words(rest);
  if (!words) return std::move(words).error();
  return LegChange{.target = std::move(target).value(),
                   .after = Duration{0},
                   .words = std::move(words).value(),
                   .text = std::string{rest}};
}

}  // namespace penstock::netem
