#pragma once

#include <algorithm>
#include <string_view>

#include "control/gate/key_exchange.h"

namespace penstock::control {

/// In an exchange's lists. Client: it may begin a transfer before the daemon has answered its proof. Daemon: it keeps
/// what comes before the lane is there, and sets nothing that such a push would have to know from its first byte on.
inline constexpr std::string_view capability_ahead = "ahead";

[[nodiscard]] inline bool has_capability(const Agreement& agreement, std::string_view capability) {
  return std::ranges::find(agreement.capabilities, capability) != agreement.capabilities.end();
}

}  // namespace penstock::control
