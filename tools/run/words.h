#pragma once

#include <string>
#include <vector>

namespace penstock::tools {

/// The words after the program's name. Values of options that the table calls secret (`--token`) are overwritten in
/// argv at once, so that `ps` shows them for as short a time as possible. Requires: argv as main got it.
std::vector<std::string> take_client_words(int argc, char** argv);

}  // namespace penstock::tools
