#pragma once

#include <string>

#include "common/result.h"
#include "control/gate/pin.h"
#include "tools/cli/command.h"

namespace penstock::tools {

/// Notes in `STATE/daemon.pin` which key the daemon shows, for `penstockd token`, which may run without knowing that
/// `serve` was given a certificate of the operator's own. Replaced by rename.
Status note_serving_pin(const std::string& state, const std::string& fingerprint);

/// The key that a token must vouch for: the configuration's certificate, else what the last `serve` noted, else the
/// state directory's own key, which is made now if there is none.
Result<control::Pin> serving_pin(const std::string& state, const TokenCommand& command);

}  // namespace penstock::tools
