#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace penstock::tools {

/// The TOML type that a key takes.
enum class SettingType : std::uint8_t { text, integer, boolean, text_list };

struct SettingSpec {
  std::string_view key;
  SettingType type = SettingType::text;
};

/// One value, as text, with the place it came from: `FILE:LINE` for messages.
struct SettingValue {
  std::vector<std::string> texts;  // one, or the list's
  std::string where;
};

/// The keys that one table of a file sets.
class SettingLayer {
 public:
  /// Borrowed; dies with the layer.
  [[nodiscard]] const SettingValue* find(std::string_view key) const;
  void set(std::string key, SettingValue value) { values_.insert_or_assign(std::move(key), std::move(value)); }
  [[nodiscard]] bool empty() const { return values_.empty(); }

 private:
  std::map<std::string, SettingValue, std::less<>> values_;
};

/// config.toml of the client: [defaults] and any number of [host.ALIAS].
struct ClientConfigFile {
  SettingLayer defaults;
  std::map<std::string, SettingLayer, std::less<>> hosts;
};

// A key that no table lists and a value of another type are CONFIG_INVALID with FILE:LINE. Values are checked where
// they are used, by the same code as options. Pure: `file` is only quoted.

/// Keys: client_settings in [defaults]; these and host_settings in [host.ALIAS].
Result<ClientConfigFile> parse_client_config(std::string_view text, std::string_view file);
/// Keys: daemon_settings, at the top level.
Result<SettingLayer> parse_daemon_config(std::string_view text, std::string_view file);

/// The whole file. CONFIG_INVALID when it can not be read or is larger than 1 MiB; NOT_FOUND when it does not exist.
Result<std::string> read_config_file(const std::string& file);

inline constexpr SettingSpec client_settings[] = {
    {"cc"},
    {"rate"},
    {"fec"},
    {"lanes", SettingType::integer},
    {"data"},
    {"mtu", SettingType::integer},
    {"digest"},
    {"overwrite"},
    {"links"},
    {"resume", SettingType::boolean},
    {"connect_timeout"},
    {"timeout"},
    {"chunk_order"},
    {"udp_offload"},
};
inline constexpr SettingSpec host_settings[] = {
    {"address"},      // HOST[:PORT] that the alias stands for
    {"name"},         // which registration, as NAME@
    {"fingerprint"},  // SHA256:HEX that the daemon must show
    {"ca"},           // PEM file that vouches for the host
};
inline constexpr SettingSpec daemon_settings[] = {
    {"root"},
    {"state"},
    {"listen", SettingType::text_list},
    {"udp_advertise"},
    {"cert"},
    {"key"},
    {"log_format"},
    {"rate_cap"},
    {"sessions_max", SettingType::integer},
    {"transfers_max", SettingType::integer},
    {"unproven_max", SettingType::integer},
    {"partial_ttl"},
    {"drain_timeout"},
    {"chunk_order"},
    {"discard", SettingType::boolean},
    {"workers", SettingType::integer},
    {"busy_poll"},
    {"udp_offload"},
    {"udp_steering"},
};

}  // namespace penstock::tools
