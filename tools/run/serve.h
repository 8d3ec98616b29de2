#pragma once

#include <string>
#include <string_view>

#include "control/server/server.h"
#include "tools/cli/command.h"
#include "tools/output/output.h"

namespace penstock::tools {

/// Serves until a signal ends it; the ready lines and the log go to standard error. First INT, TERM or HUP: running
/// transfers may finish for the drain time; second: they end now, resumable; third: at once. Exit status 0 after an
/// orderly stop, 2 for the configuration, 3 when an address can not be bound.
int run_serve(const ServeCommand& command, Output& out);

/// One log line with its newline: `TIME LEVEL event: message key=value ...`, or an object with the same fields. Pure.
std::string log_line(LogFormat format, std::string_view time, control::LogLevel level, std::string_view event,
                     std::string_view message, control::LogFields fields);

}  // namespace penstock::tools
