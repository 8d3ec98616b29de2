#include "tools/run/words.h"

#include <cstring>
#include <string_view>

#include "tools/cli/parser.h"
#include "tools/cli/penstock_table.h"

namespace penstock::tools {

std::vector<std::string> take_client_words(int argc, char** argv) {
  std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  const auto outcome = parse_words(penstock_table, words);
  for (const auto& option : outcome.words.options) {
    if (!option.spec->secret || option.value == "-") continue;
    char* word = argv[1 + option.word];
    // In `--token=SECRET` the name stays readable.
    const std::size_t length = std::strlen(word);
    char* value = word + (length - option.value.size());
    std::memset(value, 'x', option.value.size());
  }
  return words;
}

}  // namespace penstock::tools
