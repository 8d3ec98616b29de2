#include "tools/cli/read_client_command.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/escape.h"
#include "control/gate/fec_words.h"
#include "control/gate/pin.h"
#include "tools/cli/landing.h"
#include "tools/cli/penstock_table.h"
#include "tools/cli/remote.h"
#include "tools/cli/setting_lookup.h"
#include "tools/cli/values.h"

namespace penstock::tools {
namespace {

inline constexpr std::uint64_t mtu_least = 1280;  // RFC 8200 section 5: every IPv6 path carries it
inline constexpr std::uint64_t mtu_most = 65535;
inline constexpr std::uint64_t lanes_most = 64;  // crypto::lanes_max

Error usage(std::string message) { return Error{ErrorCode::USAGE, std::move(message)}; }

class Reader {
 public:
  Reader(const ParsedWords& words, const ClientConfigFile& config, const Environment& environment)
      : words_(words), config_(config), environment_(environment) {}

  Result<ClientCommand> run() {
    auto home = client_home(environment_);
    if (!home) return home.error();
    out_.home = *home;
    if (words_.has("-q")) out_.verbosity = Verbosity::quiet;
    if (words_.has("-v")) out_.verbosity = Verbosity::verbose;

    const std::string_view name = words_.command->words;
    Status read = name == "register"         ? read_register()
                  : name == "push"           ? read_push()
                  : name == "pull"           ? read_pull()
                  : name == "mv"             ? read_rename()
                  : name == "ping"           ? read_ping()
                  : name == "receipt list"   ? done(ReceiptListCommand{})
                  : name == "receipt show"   ? done(ReceiptShowCommand{operand(0), words_.has("--sums")})
                  : name == "receipt verify" ? done(ReceiptVerifyCommand{operand(0)})
                  : name == "receipt check"  ? done(ReceiptCheckCommand{operand(0), operand(1)})
                                             : read_on_one_path(name);
    if (!read) return read.error();
    return std::move(out_);
  }

 private:
  [[nodiscard]] const std::string& operand(std::size_t index) const { return words_.operands[index]; }
  template <class Action>
  Status done(Action action) {
    out_.action = std::move(action);
    return {};
  }

  [[nodiscard]] SettingLookup settings() const {
    return SettingLookup{penstock_table, words_, environment_, {host_layer_, &config_.defaults}};
  }

  /// Puts the alias's address in the place of the alias, and fills in what every connection needs.
  Result<control::ClientConfig> connection(HostWords host) {
    if (const auto alias = config_.hosts.find(host.host); alias != config_.hosts.end()) {
      host_layer_ = &alias->second;
      if (const auto* address = host_layer_->find("address")) {
        const auto real = parse_host(address->texts.back());
        if (!real)
          return FoundSetting{address->texts, address->where, ErrorCode::CONFIG_INVALID}.refuse(real.error().message);
        host.host = real->host;
        if (!host.port) host.port = real->port;
        if (host.name.empty()) host.name = real->name;
      }
      if (const auto* name = host_layer_->find("name"); name && host.name.empty()) host.name = name->texts.back();
    }
    control::ClientConfig out;
    out.home = out_.home;
    out.user = host.name;
    out.host = host.host;
    out.port = host.port.value_or(control::default_port);
    out.token = environment_.get("PENSTOCK_TOKEN");

    const SettingLookup lookup = settings();
    const auto connect = lookup.value("connect_timeout", parse_duration);
    if (!connect) return connect.error();
    if (*connect == Duration{}) return lookup.find("connect_timeout")->refuse("a connection needs more time than 0");
    out.connect_timeout = **connect;
    const auto timeout = lookup.value("timeout", parse_duration);
    if (!timeout) return timeout.error();
    out.timeout = **timeout == Duration{} ? std::nullopt : *timeout;
    const auto offload = lookup.value("udp_offload", parse_switch);
    if (!offload) return offload.error();
    out.udp_offload = offload->value_or(true);

    const auto fingerprint = words_.last("--fingerprint");
    if (const auto found =
            fingerprint ? std::optional{FoundSetting{{*fingerprint}, "--fingerprint"}} : lookup.find("fingerprint")) {
      const auto pin = control::parse_pin(found->text());
      if (!pin)
        return found->refuse(
            "that is no fingerprint; the daemon prints it at its start as SHA256: and 64 hexadecimal digits");
      out.fingerprint = control::to_string(*pin);
    }
    if (const auto ca = words_.last("--ca")) {
      if (ca->empty()) return usage("--ca needs the name of a file");
      out.ca_file = *ca;
    } else if (const auto file = lookup.find("ca")) {
      out.ca_file = file->text();
    }
    return out;
  }

  Status read_register() {
    const auto host = parse_host(operand(0));
    if (!host) return host.error();
    auto client = connection(*host);
    if (!client) return client.error();
    RegisterCommand out;
    out.client = std::move(*client);
    const auto token = words_.last("--token");
    const auto file = words_.last("--token-file");
    if (token && file) return usage("--token and --token-file contradict each other; give one of them");
    if (file) {
      if (file->empty()) return usage("--token-file needs the name of a file");
      out.token_from = RegisterCommand::TokenFrom::file;
      out.token = *file;
    } else if (token && *token == "-") {
      out.token_from = RegisterCommand::TokenFrom::standard_input;
    } else if (token) {
      out.token = *token;
    } else if (out.client.token) {
      out.token = *out.client.token;
    } else {
      return usage(
          "a token is needed: write --token - and paste it, or --token-file FILE; the operator makes one with "
          "`penstockd token --user NAME`");
    }
    if (out.token_from == RegisterCommand::TokenFrom::word && out.token.empty())
      return usage("the token is empty; write --token - and paste it");
    return done(std::move(out));
  }

  Result<control::TransferOptions> transfer_options() {
    using control::CongestionKind;
    using control::DataKind;
    using control::DigestKind;
    using control::LinkMode;
    using control::OverwriteMode;
    const SettingLookup lookup = settings();
    control::TransferOptions out;
    std::optional<Error> refused;
    const auto take = [&](std::string_view key, auto parse, auto store) {
      if (refused) return;
      auto value = lookup.value(key, parse);
      if (!value) {
        refused = value.error();
      } else if (*value) {
        store(**value);
      }
    };
    take(
        "cc",
        [](std::string_view text) {
          return parse_choice<CongestionKind>(text, {{"bbr", CongestionKind::bbr},
                                                     {"cubic", CongestionKind::cubic},
                                                     {"fixed", CongestionKind::fixed},
                                                     {"scavenger", CongestionKind::scavenger}});
        },
        [&](CongestionKind value) { out.congestion = value; });
    take("rate", parse_rate, [&](DataRate value) { out.rate = value; });
    take(
        "fec",
        [](std::string_view text) -> Result<engine::Fec> {
          if (const auto fec = control::fec_named(text)) return *fec;
          return usage(fmt::format("`{}` is none of auto, off and K,M (K and M from 1 to 128, such as 20,4)",
                                   escape_for_display(text, 64)));
        },
        [&](const engine::Fec& value) { out.fec = value; });
    take(
        "lanes", [](std::string_view text) { return parse_number(text, 1, lanes_most); },
        [&](std::uint64_t value) { out.lanes = static_cast<std::size_t>(value); });
    take(
        "data",
        [](std::string_view text) {
          return parse_choice<DataKind>(
              text, {{"auto", DataKind::automatic}, {"udp", DataKind::udp}, {"tcp", DataKind::tcp}});
        },
        [&](DataKind value) { out.data = value; });
    take(
        "mtu", [](std::string_view text) { return parse_number(text, mtu_least, mtu_most); },
        [&](std::uint64_t value) { out.mtu = static_cast<std::uint16_t>(value); });
    take(
        "digest",
        [](std::string_view text) {
          return parse_choice<DigestKind>(text, {{"xxh3", DigestKind::xxh3}, {"sha256", DigestKind::sha256}});
        },
        [&](DigestKind value) { out.digest = value; });
    take(
        "overwrite",
        [](std::string_view text) {
          return parse_choice<OverwriteMode>(text, {{"never", OverwriteMode::never},
                                                    {"skip", OverwriteMode::skip},
                                                    {"changed", OverwriteMode::changed},
                                                    {"always", OverwriteMode::always}});
        },
        [&](OverwriteMode value) { out.overwrite = value; });
    take(
        "links",
        [](std::string_view text) {
          return parse_choice<LinkMode>(
              text, {{"keep", LinkMode::keep}, {"follow", LinkMode::follow}, {"skip", LinkMode::skip}});
        },
        [&](LinkMode value) { out.links = value; });
    take(
        "resume",
        [](std::string_view text) {
          return parse_choice<bool>(text, {{"true", true}, {"false", false}});
        },
        [&](bool value) { out.resume = value; });
    take(
        "chunk_order",
        [](std::string_view text) {
          return parse_choice<bool>(text, {{"sequential", false}, {"shuffled", true}});
        },
        [&](bool value) { out.shuffle_chunks = value; });
    if (refused) return *refused;
    if (out.congestion == CongestionKind::fixed && !out.rate)
      return lookup.find("cc")->refuse("fixed needs --rate, the rate to send at");
    if (out.congestion == CongestionKind::scavenger && out.lanes > 1)
      return lookup.find("cc")->refuse("scavenger has one lane; use bbr, cubic or fixed with --lanes");
    out.dry_run = words_.has("--dry-run");
    out.report_files = out.dry_run || out_.verbosity == Verbosity::verbose;
    return out;
  }

  Status read_push() {
    auto remote = parse_remote(words_.operands.back());
    if (!remote) return remote.error();
    auto words = plan_landing(std::span{words_.operands}.first(words_.operands.size() - 1), remote->path);
    if (!words) return words.error();
    auto destination = normal_remote_path(words->destination);
    if (!destination) return destination.error();
    words->destination = std::move(*destination);
    auto client = connection(remote->host);
    if (!client) return client.error();
    auto options = transfer_options();
    if (!options) return options.error();
    return done(PushCommand{std::move(*client), std::move(*words), *options});
  }

  Status read_pull() {
    std::vector<std::string> paths;
    std::optional<HostWords> host;
    for (std::size_t i = 0; i + 1 < words_.operands.size(); ++i) {
      if (operand(i) == "-") return usage("`-` as source is not there yet: pipes come with a later version");
      auto remote = parse_remote(operand(i));
      if (!remote) return remote.error();
      if (host && *host != remote->host)
        return usage(fmt::format("every source is on one host, but {} and {} are two; run one command for each",
                                 show_host(*host), show_host(remote->host)));
      host = remote->host;
      paths.push_back(std::move(remote->path));
    }
    auto words = plan_landing(paths, words_.operands.back());
    if (!words) return words.error();
    for (auto& source : words->sources) {
      auto path = normal_remote_path(source.path);
      if (!path) return path.error();
      source.path = std::move(*path);
    }
    auto client = connection(*host);
    if (!client) return client.error();
    auto options = transfer_options();
    if (!options) return options.error();
    return done(PullCommand{std::move(*client), std::move(*words), *options});
  }

  Status read_rename() {
    const auto remote = parse_remote(operand(0));
    if (!remote) return remote.error();
    if (const auto whole = parse_remote(operand(1)))
      return usage(fmt::format("the new name is on the same host: write only its path, {}",
                               escape_for_display(whole->path, 160)));
    if (!operand(1).starts_with('/'))
      return usage(fmt::format("the new name `{}` lacks its `/`; write a path on the same host, such as /{}",
                               escape_for_display(operand(1), 160), escape_for_display(operand(1), 160)));
    auto from = normal_remote_path(remote->path);
    if (!from) return from.error();
    auto to = normal_remote_path(operand(1));
    if (!to) return to.error();
    auto client = connection(remote->host);
    if (!client) return client.error();
    return done(RenameCommand{std::move(*client), std::move(*from), std::move(*to)});
  }

  Status read_ping() {
    const auto host = parse_host(operand(0));
    if (!host) return host.error();
    auto client = connection(*host);
    if (!client) return client.error();
    return done(PingCommand{std::move(*client)});
  }

  Status read_on_one_path(std::string_view name) {
    const auto remote = parse_remote(operand(0));
    if (!remote) return remote.error();
    auto normal = normal_remote_path(remote->path);
    if (!normal) return normal.error();
    auto path = std::move(*normal);
    auto connected = connection(remote->host);
    if (!connected) return connected.error();
    auto client = std::move(*connected);
    if (name == "ls") return done(ListCommand{std::move(client), std::move(path), words_.has("-l")});
    if (name == "stat") return done(StatCommand{std::move(client), std::move(path)});
    if (name == "mkdir") return done(MkdirCommand{std::move(client), std::move(path), words_.has("-p")});
    if (name == "rm") return done(RemoveCommand{std::move(client), std::move(path), words_.has("-r")});
    PENSTOCK_CHECK(name == "digest");
    return done(DigestCommand{std::move(client), std::move(path)});
  }

  const ParsedWords& words_;
  const ClientConfigFile& config_;
  const Environment& environment_;
  const SettingLayer* host_layer_ = nullptr;
  ClientCommand out_;
};

}  // namespace

Result<ClientCommand> read_client_command(const ParsedWords& words, const ClientConfigFile& config,
                                          const Environment& environment) {
  PENSTOCK_CHECK(words.command != nullptr);
  return Reader{words, config, environment}.run();
}

std::string peer_words(const ClientCommand& command) {
  return std::visit(
      [](const auto& action) -> std::string {
        if constexpr (requires { action.client; }) {
          return show_host({.name = {}, .host = action.client.host, .port = action.client.port});
        } else {
          return {};
        }
      },
      command.action);
}

}  // namespace penstock::tools
