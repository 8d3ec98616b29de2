#pragma once

#include <chrono>
#include <span>
#include <string>

namespace penstock::tools {

/// The whole of `penstock` after main has taken its words: reads configuration, runs the command, returns the exit
/// status. `started` is when the process began, for `seconds`.
/// Call it from the first thread, once: it takes over the signals.
int run_client_program(std::span<const std::string> words, std::chrono::steady_clock::time_point started);

}  // namespace penstock::tools
