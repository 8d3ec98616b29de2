#pragma once

#include "common/result.h"
#include "tools/cli/command.h"
#include "tools/cli/parser.h"
#include "tools/config/places.h"
#include "tools/config/settings.h"

namespace penstock::tools {

/// From the sorted words of `penstockd` to their meaning. Requires: the outcome of parse_words on penstockd_table,
/// without an error. Errors: USAGE, CONFIG_INVALID. Meets the file system only to see that root and state are apart.
Result<DaemonCommand> read_daemon_command(const ParsedWords& words, const SettingLayer& config,
                                          const Environment& environment);

}  // namespace penstock::tools
