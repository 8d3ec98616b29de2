#pragma once

#include <string>

#include "tools/cli/option_table.h"

namespace penstock::tools {

/// `PROGRAM --help`: what the program is for, its commands, the options that all take, addresses, exit codes.
std::string program_help(const ProgramSpec& table);
/// `PROGRAM COMMAND --help`: usage, details, every option it takes with default and configuration key, examples.
std::string command_help(const ProgramSpec& table, std::size_t command);

}  // namespace penstock::tools
