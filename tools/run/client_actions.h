#pragma once

#include <chrono>

#include "tools/cli/command.h"
#include "tools/output/output.h"

namespace penstock::tools {

/// Does what the command says and writes its answers and its last line; returns the exit status. First INT, TERM or
/// HUP: the client gets to stop in order, and the process ends within 2 s with 130, 143 or 129; second: at once.
/// Requires: `out.start` was called; the calling thread is the process's only one.
int run_client_command(const ClientCommand& command, Output& out, std::chrono::steady_clock::time_point started);

}  // namespace penstock::tools
