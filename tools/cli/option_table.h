#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace penstock::tools {

/// A set of a program's commands, by their index in its table. Bound: 32 commands a program.
struct CommandSet {
  std::uint32_t bits = 0;
  [[nodiscard]] constexpr bool contains(std::size_t command) const {
    return command < 32 && (bits >> command & 1) != 0;
  }
};

/// Whether an option is there already.
enum class Standing : std::uint8_t {
  offered,
  ignored,   // accepted without effect: what it asks for is always on
  refused,   // never offered in this form; the help text says what to write instead
  reserved,  // a word that a later version will give a meaning; the help text says which
};

enum class Repeat : std::uint8_t { last_wins, accumulates };

/// One option. `--help`, the parser and the tests are generated from these rows; man pages and completions will be.
struct OptionSpec {
  std::string_view name;               // "--rate"; or "-q" where there is no long form
  std::string_view short_name = {};    // "-n" beside a long name, else empty
  std::string_view value_name = {};    // "RATE"; empty for a flag
  CommandSet commands = {};            // which commands take it
  std::string_view help = {};          // one sentence or two, without a final newline
  std::string_view default_text = {};  // what holds when nobody says anything; empty when nothing does
  std::string_view setting = {};       // key in the configuration file; empty when it has none
  std::string_view environment = {};   // variable that stands in for it; empty when none does
  Repeat repeat = Repeat::last_wins;
  Standing standing = Standing::offered;
  bool secret = false;                  // the value is wiped from argv at once
  std::string_view value_not_yet = {};  // for values that a later version brings: "auto|K,M"
  std::string_view cancelled_by = {};   // the opposite flag: the later of the two on the command line wins

  [[nodiscard]] constexpr bool takes_value() const { return !value_name.empty(); }
};

/// One command, of one or two words.
struct CommandSpec {
  std::string_view words;     // "push" or "receipt show"
  std::string_view operands;  // as shown in the usage line: "SRC... REMOTE"
  std::size_t operands_min = 0;
  std::size_t operands_max = 0;    // any_number: no limit
  std::string_view summary;        // one line for the list of commands
  std::string_view details = {};   // paragraphs for the command's own help
  std::string_view examples = {};  // lines: a command, two spaces, what it does
  std::string_view not_yet = {};   // not empty: reserved; why it is refused
};
inline constexpr std::size_t any_number = static_cast<std::size_t>(-1);

struct ProgramSpec {
  std::string_view name;
  std::string_view summary;
  std::span<const CommandSpec> commands;
  std::span<const OptionSpec> options;
  std::string_view topics = {};  // paragraphs at the end of the global help
};

/// The index of the command with these words; any_number when there is none.
constexpr std::size_t command_index(std::span<const CommandSpec> commands, std::string_view words) {
  for (std::size_t i = 0; i < commands.size(); ++i)
    if (commands[i].words == words) return i;
  return any_number;
}

/// Names commands in an option row. A name that the table lacks fails to compile (the shift leaves 32 bits).
constexpr CommandSet on(std::span<const CommandSpec> commands, std::initializer_list<std::string_view> names) {
  CommandSet set;
  for (const auto name : names) {
    const std::size_t index = command_index(commands, name);
    if (index >= 32) throw "an option row names a command that the table lacks";
    set.bits |= std::uint32_t{1} << index;
  }
  return set;
}
constexpr CommandSet on_all(std::span<const CommandSpec> commands) {
  return {static_cast<std::uint32_t>((std::uint64_t{1} << commands.size()) - 1)};
}

}  // namespace penstock::tools
