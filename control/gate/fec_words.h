#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "control/gate/key_exchange.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::control {

/// In an exchange's lists: this end writes and reads REPAIR frames.
inline constexpr std::string_view capability_fec = "fec";

/// `auto`, `off` or `K,M`, as the command line and a request carry it; nullopt: something else.
std::optional<engine::Fec> fec_named(std::string_view name);
std::string fec_name(const engine::Fec& fec);

/// What a session can do of it: none where the peer knows nothing of FEC, but VERSION_MISMATCH where a ratio was given.
Result<engine::Fec> fec_for(const engine::Fec& wanted, const Agreement& agreement);

}  // namespace penstock::control
