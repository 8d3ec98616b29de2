#include "tools/cli/read_daemon_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/escape.h"
#include "dataplane/io/worker_group.h"
#include "tools/cli/penstockd_table.h"
#include "tools/cli/remote.h"
#include "tools/cli/setting_lookup.h"
#include "tools/cli/values.h"

namespace penstock::tools {
namespace {

inline constexpr std::uint64_t count_most = 1'000'000;  // of sessions; beyond it the number is a mistake
inline constexpr std::size_t user_size_max = 64;
inline constexpr Duration busy_poll_most = std::chrono::milliseconds{10};

Error usage(std::string message) { return Error{ErrorCode::USAGE, std::move(message)}; }

class Reader {
 public:
  Reader(const ParsedWords& words, const SettingLayer& config, const Environment& environment)
      : words_(words), environment_(environment), lookup_(penstockd_table, words, environment, {&config}) {}

  Result<DaemonCommand> run() {
    auto state = state_directory();
    if (!state) return state.error();
    out_.state = *state;
    const std::string_view name = words_.command->words;
    Status read = name == "token"            ? read_token()
                  : name == "tokens list"    ? done(TokensListCommand{})
                  : name == "tokens revoke"  ? read_token_revoke()
                  : name == "clients list"   ? done(ClientsListCommand{})
                  : name == "clients grant"  ? read_clients_grant()
                  : name == "clients revoke" ? read_clients_revoke()
                                             : read_serve(name);
    if (!read) return read.error();
    return std::move(out_);
  }

 private:
  template <class Action>
  Status done(Action action) {
    out_.action = std::move(action);
    return {};
  }

  Result<std::string> state_directory() {
    std::string state;
    if (const auto found = lookup_.find("state")) {
      if (found->text().empty()) return found->refuse("it needs the name of a directory");
      state = found->text();
    } else {
      auto place = default_state_directory(environment_);
      if (!place) return place.error();
      state = std::move(*place);
    }
    return std::filesystem::absolute(state).lexically_normal().string();
  }

  Status read_serve(std::string_view name) {
    ServeCommand out;
    out.server.state = out_.state;
    const auto root = lookup_.find("root");
    if (!root || root->text().empty())
      return usage("--root DIR is needed: the directory that clients see as `/`; it has no default");
    out.server.root = root->text();
    if (auto apart = check_root_and_state(root->text(), out_.state); !apart) return apart;

    if (const auto listen = lookup_.find("listen")) {
      for (const auto& text : listen->texts) {
        auto address = parse_listen(text);
        if (!address) return listen->refuse(address.error().message);
        out.server.listen.push_back(std::move(*address));
      }
    }
    if (const auto advertise = lookup_.find("udp_advertise")) {
      const auto host = parse_host(advertise->text());
      if (!host) return advertise->refuse(host.error().message);
      if (!host->port || !host->name.empty()) return advertise->refuse("write HOST:PORT");
      out.server.udp_advertise = control::AdvertisedUdp{host->host, *host->port};
    }
    const auto cert = lookup_.find("cert");
    const auto key = lookup_.find("key");
    if (cert.has_value() != key.has_value())
      return (cert ? cert : key)->refuse("--cert and --key belong together: give both, or neither");
    if (cert) {
      out.server.cert_file = cert->text();
      out.server.key_file = key->text();
    }

    std::optional<Error> refused;
    const auto take = [&](std::string_view setting, auto parse, auto store) {
      if (refused) return;
      auto value = lookup_.value(setting, parse);
      if (!value) {
        refused = value.error();
      } else if (*value) {
        store(**value);
      }
    };
    const auto count = [](std::string_view text) { return parse_number(text, 1, count_most); };
    take(
        "log_format",
        [](std::string_view text) {
          return parse_choice<LogFormat>(text, {{"text", LogFormat::text}, {"json", LogFormat::json}});
        },
        [&](LogFormat value) { out.log_format = value; });
    take("rate_cap", parse_rate, [&](DataRate value) { out.server.rate_cap = value; });
    take("sessions_max", count, [&](std::uint64_t n) { out.server.sessions_max = static_cast<std::uint32_t>(n); });
    take("transfers_max", count, [&](std::uint64_t n) { out.server.transfers_max = static_cast<std::uint32_t>(n); });
    take("unproven_max", count, [&](std::uint64_t n) { out.server.unproven_max = static_cast<std::uint32_t>(n); });
    take("partial_ttl", parse_duration, [&](Duration value) { out.server.partial_ttl = value; });
    take("drain_timeout", parse_duration, [&](Duration value) { out.server.drain_timeout = value; });
    take(
        "chunk_order",
        [](std::string_view text) {
          return parse_choice<bool>(text, {{"sequential", false}, {"shuffled", true}});
        },
        [&](bool value) { out.server.shuffle_chunks = value; });
    take(
        "discard",
        [](std::string_view text) {
          return parse_choice<bool>(text, {{"true", true}, {"false", false}});
        },
        [&](bool value) { out.server.discard = value; });
    take(
        "workers", [](std::string_view text) { return parse_number(text, 1, io::WorkerGroup::workers_max); },
        [&](std::uint64_t n) { out.server.workers = static_cast<std::uint32_t>(n); });
    take(
        "busy_poll",
        [](std::string_view text) -> Result<Duration> {
          auto time = parse_duration(text);
          if (time && *time > busy_poll_most)
            return usage("longer than 10ms, a thread never sleeps: it only burns its core");
          return time;
        },
        [&](Duration value) { out.server.busy_poll = value; });
    take("udp_offload", parse_switch, [&](bool value) { out.server.udp_offload = value; });
    take("udp_steering", parse_switch, [&](bool value) { out.server.udp_steering = value; });
    if (refused) return *refused;
    if (name == "check-config") return done(CheckConfigCommand{std::move(out)});
    PENSTOCK_CHECK(name == "serve");
    return done(std::move(out));
  }

  static Result<std::vector<control::Grant>> grants_of(std::span<const std::string> texts) {
    std::vector<control::Grant> grants;
    for (const auto& text : texts) {
      auto grant = control::parse_grant(text);
      if (!grant) return grant.error();
      grants.push_back(std::move(*grant));
    }
    return grants;
  }

  Status read_token() {
    TokenCommand out;
    const auto user = words_.last("--user");
    if (!user) return usage("--user NAME is needed: whom the token is for");
    const bool fits = !user->empty() && user->size() <= user_size_max && std::ranges::all_of(*user, [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
             c == '-';
    });
    if (!fits || user->front() == '-' || user->front() == '.')
      return usage(
          fmt::format("`{}` is no name for a user; it is made of letters, digits, `.`, `_` and `-`, at most {}",
                      escape_for_display(*user, user_size_max), user_size_max));
    out.user = *user;
    auto words = words_.all("--grant");
    out.grants_defaulted = words.empty();
    if (words.empty()) words.emplace_back("rw:/");
    auto grants = grants_of(words);
    if (!grants) return grants.error();
    out.grants = std::move(*grants);
    const auto ttl = parse_duration(words_.last("--ttl").value_or("24h"));
    if (!ttl) return Error{ErrorCode::USAGE, "--ttl: " + ttl.error().message};
    if (*ttl < std::chrono::seconds{1}) return usage("--ttl: a token that lives less than a second helps nobody");
    out.ttl = *ttl;
    const auto cert = lookup_.find("cert");
    const auto key = lookup_.find("key");
    if (cert.has_value() != key.has_value())
      return (cert ? cert : key)->refuse("cert and key belong together: give both, or neither");
    if (cert) {
      out.cert_file = cert->text();
      out.key_file = key->text();
    }
    return done(std::move(out));
  }

  Status read_token_revoke() {
    const auto id = control::parse_token_id(words_.operands[0]);
    if (!id)
      return usage(fmt::format("`{}` is no token's id; `penstockd tokens list` shows them: 16 hexadecimal digits",
                               escape_for_display(words_.operands[0], 64)));
    return done(TokensRevokeCommand{*id});
  }

  Result<control::Uuid> uuid() {
    const auto uuid = control::parse_uuid(words_.operands[0]);
    if (!uuid)
      return usage(fmt::format("`{}` is no client's UUID; `penstockd clients list` shows them",
                               escape_for_display(words_.operands[0], 64)));
    return *uuid;
  }

  Status read_clients_grant() {
    auto who = uuid();
    if (!who) return who.error();
    auto grants = grants_of(std::span{words_.operands}.subspan(1));
    if (!grants) return grants.error();
    return done(ClientsGrantCommand{*who, std::move(*grants)});
  }

  Status read_clients_revoke() {
    auto who = uuid();
    if (!who) return who.error();
    return done(ClientsRevokeCommand{*who});
  }

  const ParsedWords& words_;
  const Environment& environment_;
  SettingLookup lookup_;
  DaemonCommand out_;
};

}  // namespace

Result<DaemonCommand> read_daemon_command(const ParsedWords& words, const SettingLayer& config,
                                          const Environment& environment) {
  PENSTOCK_CHECK(words.command != nullptr);
  return Reader{words, config, environment}.run();
}

}  // namespace penstock::tools
