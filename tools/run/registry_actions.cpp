#include "tools/run/registry_actions.h"

#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include "common/escape.h"
#include "control/gate/token.h"
#include "control/registry/sqlite_registry.h"
#include "tools/run/serving_pin.h"

namespace penstock::tools {
namespace {

control::UnixSeconds wall_clock() {
  return {
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}
std::string show_time(control::UnixSeconds time) {
  return rfc3339(std::chrono::system_clock::time_point{std::chrono::seconds{time.value}});
}
std::vector<std::string> grant_texts(const std::vector<control::Grant>& grants) {
  std::vector<std::string> out;
  for (const auto& grant : grants) out.push_back(control::to_string(grant));
  return out;
}
std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out.append(out.empty() ? "" : " ").append(escape_for_display(word));
  return out;
}

/// `token` may come before the first `serve`; all else asks about a daemon that there is.
enum class MissingState : std::uint8_t { make, refuse };

/// Root turns into the owner of the directory.
Status enter_state(const std::string& state, MissingState missing) {
  if (missing == MissingState::make) {
    std::error_code failed;
    std::filesystem::create_directories(std::filesystem::path{state}.parent_path(), failed);
    if (::mkdir(state.c_str(), 0700) != 0 && errno != EEXIST)
      return error_from_errno(errno, "make the state directory", state);
  }
  struct stat info {};
  if (::stat(state.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR)
      return Error{
          ErrorCode::CONFIG_INVALID,
          fmt::format("there is no state directory {}; name the daemon's with --state", escape_for_display(state)),
          state};
    return error_from_errno(errno, "use the state directory", state);
  }
  if (!S_ISDIR(info.st_mode)) return error_from_errno(ENOTDIR, "use the state directory", state);
  if (::geteuid() != 0 || info.st_uid == 0) return {};
  if (::setgroups(0, nullptr) != 0 || ::setgid(info.st_gid) != 0 || ::setuid(info.st_uid) != 0)
    return error_from_errno(errno, "become the owner of", state);
  return {};
}

class Actions {
 public:
  Actions(const DaemonCommand& command, Output& out, control::Registry& registry)
      : command_(command), out_(out), registry_(registry) {}

  Status act(const TokenCommand& action) {
    const auto pin = serving_pin(command_.state, action);
    if (!pin) return pin.error();
    const control::Token token = control::make_token(*pin, {});
    const control::UnixSeconds now = wall_clock();
    const auto ttl = std::chrono::duration_cast<std::chrono::seconds>(action.ttl).count();
    const control::TokenRecord record{.id = token.id,
                                      .secret_sha256 = control::token_secret_digest(token.secret.view()),
                                      .user = action.user,
                                      .grants = action.grants,
                                      .created = now,
                                      .expires = {now.value + ttl},
                                      .used_by = {},
                                      .revoked = {}};
    if (auto added = registry_.add_token(record); !added) return added;
    if (action.grants_defaulted)
      out_.announce("no --grant given: rw:/ (everything beneath --root, to read and to write)");
    std::string text = control::encode_token(token);
    out_.answer(text + "\n");
    out_.event("entry", [&](JsonLine& line) {
      line.text("id", control::to_string(record.id))
          .text("token", text)
          .text("user", record.user)
          .texts("grants", grant_texts(record.grants))
          .text("expires", show_time(record.expires));
    });
    control::wipe_text(text);
    return {};
  }

  Status act(const TokensListCommand&) {
    const auto tokens = registry_.tokens();
    if (!tokens) return tokens.error();
    const control::UnixSeconds now = wall_clock();
    for (const auto& token : *tokens) {
      const std::string_view standing = token.revoked          ? "revoked"
                                        : token.used_by        ? "used"
                                        : token.expires <= now ? "expired"
                                                               : "open";
      const auto grants = grant_texts(token.grants);
      out_.event("entry", [&](JsonLine& line) {
        line.text("id", control::to_string(token.id))
            .text("user", token.user)
            .texts("grants", grants)
            .text("standing", standing)
            .text("created", show_time(token.created))
            .text("expires", show_time(token.expires));
      });
      out_.answer(fmt::format("{}  {:7}  {}  expires {}  {}\n", control::to_string(token.id), standing,
                              escape_for_display(token.user), show_time(token.expires), joined(grants)));
    }
    return {};
  }

  Status act(const TokensRevokeCommand& action) { return registry_.revoke_token(action.id, wall_clock()); }

  Status act(const ClientsListCommand&) {
    const auto clients = registry_.clients();
    if (!clients) return clients.error();
    for (const auto& client : *clients) {
      const auto grants = grant_texts(client.grants);
      out_.event("entry", [&](JsonLine& line) {
        line.text("uuid", control::to_string(client.uuid))
            .text("user", client.user)
            .text("name", client.name)
            .texts("grants", grants)
            .flag("revoked", client.revoked.has_value())
            .text("created", show_time(client.created))
            .text_or_null("last_seen", client.last_seen ? show_time(*client.last_seen) : "");
      });
      out_.answer(fmt::format("{}  {}  {}  {}  last seen {}{}\n", control::to_string(client.uuid),
                              escape_for_display(client.user), escape_for_display(client.name), joined(grants),
                              client.last_seen ? show_time(*client.last_seen) : "never",
                              client.revoked ? "  REVOKED" : ""));
    }
    return {};
  }

  Status act(const ClientsGrantCommand& action) { return registry_.set_grants(action.uuid, action.grants); }
  Status act(const ClientsRevokeCommand& action) { return registry_.revoke_client(action.uuid, wall_clock()); }

  template <class Other>
  Status act(const Other&) {
    constexpr bool serve_is_no_registry_action = false;
    PENSTOCK_CHECK(serve_is_no_registry_action);
    return {};
  }

 private:
  const DaemonCommand& command_;
  Output& out_;
  control::Registry& registry_;
};

}  // namespace

Status run_registry_action(const DaemonCommand& command, Output& out) {
  if (auto entered =
          enter_state(command.state,
                      std::holds_alternative<TokenCommand>(command.action) ? MissingState::make : MissingState::refuse);
      !entered)
    return entered;
  const auto registry = control::open_sqlite_registry(command.state);
  if (!registry) return registry.error();
  Actions actions{command, out, **registry};
  return std::visit([&](const auto& action) { return actions.act(action); }, command.action);
}

}  // namespace penstock::tools
