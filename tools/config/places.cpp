#include "tools/config/places.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "common/escape.h"

namespace penstock::tools {
namespace {

namespace fs = std::filesystem;

Error invalid(std::string message, std::string path = {}) {
  return Error{ErrorCode::CONFIG_INVALID, std::move(message), std::move(path)};
}

bool is_beneath_or_same(const fs::path& inner, const fs::path& outer) {
  const auto [outer_end, inner_at] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return outer_end == outer.end();
}

fs::path without_trailing_slash(const fs::path& path) { return path.has_filename() ? path : path.parent_path(); }

}  // namespace

std::optional<std::string> Environment::get(std::string_view name) const {
  auto value = variable ? variable(name) : std::nullopt;
  if (value && value->empty()) return std::nullopt;
  return value;
}

Environment process_environment() {
  return {.variable = [](std::string_view name) -> std::optional<std::string> {
            const char* value = std::getenv(std::string{name}.c_str());
            return value ? std::optional<std::string>{value} : std::nullopt;
          },
          .superuser = ::geteuid() == 0};
}

Result<std::string> client_home(const Environment& environment) {
  if (auto home = environment.get("PENSTOCK_HOME")) return *home;
  if (auto config = environment.get("XDG_CONFIG_HOME")) return *config + "/penstock";
  if (auto home = environment.get("HOME")) return *home + "/.config/penstock";
  return invalid("nothing says where this client keeps its keys; set PENSTOCK_HOME to a directory");
}

Result<std::string> default_state_directory(const Environment& environment) {
  // systemd separates several directories by colons; ours is the first.
  if (auto state = environment.get("STATE_DIRECTORY")) return state->substr(0, state->find(':'));
  if (environment.superuser) return std::string{"/var/lib/penstock"};
  if (auto state = environment.get("XDG_STATE_HOME")) return *state + "/penstock";
  if (auto home = environment.get("HOME")) return *home + "/.local/state/penstock";
  return invalid("nothing says where the daemon keeps its state; name a directory with --state DIR");
}

Status check_root_and_state(const std::string& root, const std::string& state) {
  std::error_code failed;
  const fs::path real_root = fs::canonical(root, failed);
  if (failed)
    return invalid(fmt::format("--root {} cannot be used: {}", escape_for_display(root), failed.message()), root);
  if (!fs::is_directory(real_root, failed))
    return invalid(fmt::format("--root {} is not a directory", escape_for_display(root)), root);
  const fs::path real_state = without_trailing_slash(fs::weakly_canonical(fs::absolute(state, failed), failed));
  if (failed)
    return invalid(
        fmt::format("the state directory {} cannot be used: {}", escape_for_display(state), failed.message()), state);
  if (is_beneath_or_same(real_state, real_root))
    return invalid(
        fmt::format("the state directory {} lies within --root {}, where clients would see the daemon's key; name "
                    "another with --state DIR",
                    escape_for_display(state), escape_for_display(root)),
        state);
  if (is_beneath_or_same(real_root, real_state))
    return invalid(
        fmt::format("--root {} lies within the state directory {}, where clients could reach the daemon's key; name "
                    "another with --state DIR",
                    escape_for_display(root), escape_for_display(state)),
        root);
  return {};
}

}  // namespace penstock::tools
