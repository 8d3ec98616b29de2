#pragma once

#include "common/result.h"
#include "tools/cli/command.h"
#include "tools/output/output.h"

namespace penstock::tools {

/// `penstockd token`, `tokens ...` and `clients ...`: works on the state directory, beside a running daemon or without
/// one. As root it becomes the owner of the state directory first, for good, so that the daemon can open what it makes.
/// Requires: an action that is neither serve nor check-config.
Status run_registry_action(const DaemonCommand& command, Output& out);

}  // namespace penstock::tools
