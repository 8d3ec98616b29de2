#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "tools/cli/option_table.h"

namespace penstock::tools {

/// One option as it stood on the command line.
struct GivenOption {
  const OptionSpec* spec;
  std::string value;  // empty for a flag
  std::size_t word;   // index in the words of the word that holds the value (or the flag)
};

/// The words of a command line, sorted but not yet understood: values are still text.
struct ParsedWords {
  const CommandSpec* command = nullptr;  // null only beside `help` or `version`, or after an error
  std::size_t command_index = any_number;
  std::vector<GivenOption> options;   // in the order given
  std::vector<std::string> operands;  // without the command's own words
  bool help = false;
  bool version = false;
  bool json = false;

  /// Whether the flag stands, which it does not when its opposite came later.
  [[nodiscard]] bool has(std::string_view name) const;
  /// The last value given; nullopt when the option was not.
  [[nodiscard]] std::optional<std::string> last(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> all(std::string_view name) const;
};

/// `words` holds what could be told even when there is an error: JSON readers are promised their last line then, too.
struct ParseOutcome {
  ParsedWords words;
  std::optional<Error> error;  // USAGE
};

/// Sorts the words after the program's name by the rules of CLI.md section 3: options anywhere, `--opt v` and
/// `--opt=v`, `--` ends them, no abbreviations, the last one wins. Flags of one letter may share a dash.
/// `table` must outlive the outcome, which points into it. Pure.
ParseOutcome parse_words(const ProgramSpec& table, std::span<const std::string> words);

}  // namespace penstock::tools
