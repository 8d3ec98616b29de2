#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "control/server/server.h"

namespace penstock::tools {

/// HOST[:PORT] as written: `host` may still be an alias of config.toml.
struct HostWords {
  std::string name;                   // NAME of `NAME@`; empty: any registration with this host
  std::string host;                   // name, IPv4, or IPv6 with its %zone, without brackets
  std::optional<std::uint16_t> port;  // nullopt: the alias's, else 7440

  bool operator==(const HostWords&) const = default;
};

struct RemoteWords {
  HostWords host;
  std::string path;  // absolute, raw bytes, exactly as written (percent-decoded in the URL form)

  bool operator==(const RemoteWords&) const = default;
};

/// `[NAME@]HOST[:PORT]:/PATH` or `penstock://HOST[:PORT]/PATH` (CLI.md section 1). USAGE otherwise; where only the `/`
/// of the path is missing, the message shows the address with it. Pure: no look-up of any kind.
Result<RemoteWords> parse_remote(std::string_view text);

/// `[NAME@]HOST[:PORT]`, as for register and ping.
Result<HostWords> parse_host(std::string_view text);

/// `ADDR:PORT` with a numeric address, IPv6 in brackets, as for --listen. Port 0 is allowed.
Result<control::ListenAddress> parse_listen(std::string_view text);

/// HOST:PORT for people and logs: IPv6 gets its brackets back.
std::string show_host(const HostWords& host);

}  // namespace penstock::tools
