#pragma once

#include <chrono>
#include <span>
#include <string>

namespace penstock::tools {

/// The whole of `penstockd` after main has taken its words; returns the exit status. `started` is when the process
/// began. Call it from the first thread, once: `serve` takes over the signals.
int run_daemon_program(std::span<const std::string> words, std::chrono::steady_clock::time_point started);

}  // namespace penstock::tools
