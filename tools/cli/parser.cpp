#include "tools/cli/parser.h"

#include <fmt/format.h>

#include <algorithm>

// Why not CLI11, which the house otherwise has: with options allowed anywhere it must "fall through" to subcommands,
// and then an operand that happens to be called like a command (`penstock push stat host:/`) is taken for one; a flag
// takes
// `--json=false`, `--opt=` disappears, and an error in one word hides whether `--json` stood in a later one, so that
// the promised last JSON line could not be written. The contract is short enough to be obeyed by a table.

namespace penstock::tools {
namespace {

struct Lookup {
  const OptionSpec* spec = nullptr;  // the row for this command, or any row of that name
  bool fits_command = false;
};

class Parser {
 public:
  Parser(const ProgramSpec& table, std::span<const std::string> words) : table_(table), words_(words) {}

  ParseOutcome run() {
    find_command();
    for (at_ = 0; at_ < words_.size(); ++at_) take_word(words_[at_]);
    out_.words.json = out_.words.json || out_.words.has("--json");
    out_.words.help = out_.words.has("--help");
    out_.words.version = out_.words.has("--version");
    finish();
    return std::move(out_);
  }

 private:
  void fail(std::string message) {
    if (!out_.error) out_.error = Error{ErrorCode::USAGE, std::move(message)};
  }

  [[nodiscard]] std::string help_hint() const {
    if (out_.words.command)
      return fmt::format("`{} {} --help` lists what there is", table_.name, out_.words.command->words);
    return fmt::format("`{} --help` lists what there is", table_.name);
  }

  // The command is the first operand, but it may stand behind options, whose meaning depends on it: so it is looked for
  // first. Whether an option takes a value does not depend on the command (a test keeps that so).
  void find_command() {
    std::vector<std::size_t> operands;
    bool only_operands = false;
    for (std::size_t i = 0; i < words_.size() && operands.size() < 2; ++i) {
      const std::string& word = words_[i];
      if (only_operands || word == "-" || word.empty() || word[0] != '-') {
        operands.push_back(i);
      } else if (word == "--") {
        only_operands = true;
      } else if (word.find('=') == std::string::npos) {
        const OptionSpec* spec = find(word).spec;
        if (spec && spec->takes_value()) ++i;
      }
    }
    if (operands.empty()) return;
    const std::string& first = words_[operands[0]];
    std::size_t index = command_index(table_.commands, first);
    command_words_ = {operands[0]};
    if (index == any_number && is_group(first)) {
      if (operands.size() < 2) {
        fail(fmt::format("{} needs a second word: {}", first, group_words(first)));
        return;
      }
      const std::string& second = words_[operands[1]];
      index = command_index(table_.commands, first + " " + second);
      command_words_.push_back(operands[1]);
      if (index == any_number) {
        fail(fmt::format("there is no command `{} {}`; there is: {}", first, second, group_words(first)));
        return;
      }
    }
    if (index == any_number) {
      fail(fmt::format("there is no command `{}`; `{} --help` lists what there is", first, table_.name));
      return;
    }
    out_.words.command_index = index;
    out_.words.command = &table_.commands[index];
  }

  [[nodiscard]] bool is_group(std::string_view first) const {
    return std::ranges::any_of(table_.commands, [&](const CommandSpec& c) {
      return c.words.size() > first.size() && c.words.starts_with(first) && c.words[first.size()] == ' ';
    });
  }
  [[nodiscard]] std::string group_words(std::string_view first) const {
    std::string all;
    for (const auto& command : table_.commands)
      if (command.words.starts_with(std::string{first} + " "))
        all.append(all.empty() ? "" : ", ").append(command.words);
    return all;
  }

  [[nodiscard]] Lookup find(std::string_view name) const {
    Lookup found;
    for (const auto& spec : table_.options) {
      if (spec.name != name && (spec.short_name.empty() || spec.short_name != name)) continue;
      const bool fits = spec.commands.contains(out_.words.command_index);
      if (!found.spec || fits) found = {&spec, fits};
      if (fits) break;
    }
    return found;
  }

  void take_word(const std::string& word) {
    if (std::ranges::find(command_words_, at_) != command_words_.end()) return;
    if (only_operands_ || word.empty() || word[0] != '-' || word == "-") {
      out_.words.operands.push_back(word);
    } else if (word == "--") {
      only_operands_ = true;
    } else if (word.starts_with("--")) {
      take_long(word);
    } else {
      take_letters(word);
    }
  }

  void take_long(const std::string& word) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const Lookup found = find(name);
    if (!found.spec) {
      unknown(name);
      return;
    }
    if (equals != std::string::npos && !found.spec->takes_value()) {
      if (found.spec->name == "--json") out_.words.json = true;
      fail(fmt::format("{} takes no value", name));
      return;
    }
    take_option(name, found, equals == std::string::npos ? std::nullopt : std::optional{word.substr(equals + 1)});
  }

  // `-rv` is `-r -v`: those who type scp's and rsync's letters type them together. No letter takes a value.
  void take_letters(const std::string& word) {
    for (std::size_t i = 1; i < word.size(); ++i) {
      const std::string name{'-', word[i]};
      const Lookup found = find(name);
      if (!found.spec) {
        unknown(word.size() == 2 ? name : name + " in " + word);
        return;
      }
      if (found.spec->standing == Standing::refused) {  // `-P2222`: the rest was its value
        take_option(name, found, std::nullopt);
        return;
      }
      take_option(name, found, std::nullopt);
    }
  }

  void take_option(const std::string& name, const Lookup& found, std::optional<std::string> value) {
    if (found.spec->takes_value() && !value) {
      if (at_ + 1 >= words_.size()) {
        fail(fmt::format("{} needs a value: {} {}", name, name, found.spec->value_name));
        return;
      }
      value = words_[++at_];
    }
    switch (found.spec->standing) {
      case Standing::refused:
        fail(fmt::format("there is no {}: {}", name, found.spec->help));
        return;
      case Standing::reserved:
        fail(fmt::format("{} is not there yet: {}", name, found.spec->help));
        return;
      case Standing::ignored:
      case Standing::offered:
        break;
    }
    if (!found.fits_command && out_.words.command) {
      fail(fmt::format("{} {} takes no {}; {}", table_.name, out_.words.command->words, name, help_hint()));
    }
    // Also beside an error: a secret among them must be found and wiped.
    if (found.spec->standing == Standing::offered)
      out_.words.options.push_back({found.spec, std::move(value).value_or(""), at_});
  }

  void unknown(const std::string& name) {
    for (const auto& spec : table_.options)
      if (name.size() > 2 && spec.name.starts_with(name) && spec.standing == Standing::offered) {
        fail(fmt::format("there is no option {}; options are written in full: {}", name, spec.name));
        return;
      }
    fail(fmt::format("there is no option {}; {}", name, help_hint()));
  }

  void finish() {
    const ParsedWords& words = out_.words;
    if (words.help || words.version) {
      // Who asks for help gets it, also beside a word that makes no sense.
      out_.error.reset();
      return;
    }
    if (out_.error) return;
    if (!words.command) {
      fail(fmt::format("a command is needed; `{} --help` lists them", table_.name));
    } else if (!words.command->not_yet.empty()) {
      fail(fmt::format("`{} {}` is not there yet: {}", table_.name, words.command->words, words.command->not_yet));
    } else if (words.operands.size() < words.command->operands_min ||
               words.operands.size() > words.command->operands_max) {
      fail(fmt::format("write: {} {}{}{}", table_.name, words.command->words,
                       words.command->operands.empty() ? "" : " ", words.command->operands));
    }
  }

  const ProgramSpec& table_;
  std::span<const std::string> words_;
  std::vector<std::size_t> command_words_;
  std::size_t at_ = 0;
  bool only_operands_ = false;
  ParseOutcome out_;
};

}  // namespace

bool ParsedWords::has(std::string_view name) const {
  for (auto option = options.rbegin(); option != options.rend(); ++option) {
    if (option->spec->name == name) return true;
    if (option->spec->cancelled_by == name) return false;
  }
  return false;
}

std::optional<std::string> ParsedWords::last(std::string_view name) const {
  for (auto option = options.rbegin(); option != options.rend(); ++option)
    if (option->spec->name == name) return option->value;
  return std::nullopt;
}

std::vector<std::string> ParsedWords::all(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& option : options)
    if (option.spec->name == name) values.push_back(option.value);
  return values;
}

ParseOutcome parse_words(const ProgramSpec& table, std::span<const std::string> words) {
  return Parser{table, words}.run();
}

}  // namespace penstock::tools
