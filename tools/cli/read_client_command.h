#pragma once

#include "common/result.h"
#include "tools/cli/command.h"
#include "tools/cli/parser.h"
#include "tools/config/places.h"
#include "tools/config/settings.h"

namespace penstock::tools {

/// From the sorted words of `penstock` to their meaning: every value parsed, every setting found, aliases replaced,
/// what lands where decided. Requires: the outcome of parse_words on penstock_table, without an error. Errors: USAGE,
/// CONFIG_INVALID, PATH_REFUSED; nothing has been opened or connected to. Pure.
Result<ClientCommand> read_client_command(const ParsedWords& words, const ClientConfigFile& config,
                                          const Environment& environment);

/// The host that the command goes to, as typed, for the `peer` of JSON lines when nothing more is known; empty when the
/// command goes nowhere.
std::string peer_words(const ClientCommand& command);

}  // namespace penstock::tools
