#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"

namespace penstock::tools {

/// What surrounds a command: the environment's variables and who runs it. An argument, so that tests bring their own.
struct Environment {
  std::function<std::optional<std::string>(std::string_view)> variable;
  bool superuser = false;

  /// nullopt also for a variable that is set to nothing.
  [[nodiscard]] std::optional<std::string> get(std::string_view name) const;
};
/// This process's.
Environment process_environment();

/// $PENSTOCK_HOME, else $XDG_CONFIG_HOME/penstock, else ~/.config/penstock. CONFIG_INVALID when none of them is set.
Result<std::string> client_home(const Environment& environment);

/// $STATE_DIRECTORY, else /var/lib/penstock for root, else $XDG_STATE_HOME/penstock, else ~/.local/state/penstock.
/// CONFIG_INVALID when none of them is set.
Result<std::string> default_state_directory(const Environment& environment);

/// Root must be a directory, and the state directory neither beneath it (clients would see the daemon's key) nor the
/// reverse nor the same. Links are resolved; the state directory need not exist. CONFIG_INVALID names both.
Status check_root_and_state(const std::string& root, const std::string& state);

}  // namespace penstock::tools
