#include "tools/cli/help.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/unit/tools/words.h"
#include "tools/cli/parser.h"
#include "tools/cli/penstock_table.h"
#include "tools/cli/penstockd_table.h"

namespace penstock::tools {
namespace {

bool mentions(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_CASE("help: the program's help names every command and every reserved option") {
  for (const auto* table : {&penstock_table, &penstockd_table}) {
    const std::string help = program_help(*table);
    for (const auto& command : table->commands)
      CHECK_MESSAGE(mentions(help, command.words), std::string{command.words});
    for (const auto& spec : table->options)
      if (spec.standing == Standing::reserved) CHECK_MESSAGE(mentions(help, spec.name), std::string{spec.name});
  }
}

TEST_CASE("help: a command's help shows each of its options with value, default, configuration key and meaning") {
  for (const auto* table : {&penstock_table, &penstockd_table})
    for (std::size_t i = 0; i < table->commands.size(); ++i) {
      if (!table->commands[i].not_yet.empty()) continue;
      const std::string help = command_help(*table, i);
      for (const auto& spec : table->options) {
        if (!spec.commands.contains(i) || spec.standing == Standing::refused) continue;
        INFO(std::string{table->commands[i].words}, " ", std::string{spec.name});
        CHECK(mentions(help, spec.name));
        if (spec.standing != Standing::offered) continue;
        CHECK(mentions(help, spec.help.substr(0, 20)));
        CHECK(mentions(help, spec.value_name));
        CHECK(mentions(help, spec.default_text));
        CHECK(mentions(help, spec.environment));
        CHECK(mentions(help, spec.value_not_yet));
      }
    }
}

TEST_CASE("help: no line is wider than a terminal of 120 columns") {
  for (const auto* table : {&penstock_table, &penstockd_table}) {
    std::vector<std::string> texts{program_help(*table)};
    for (std::size_t i = 0; i < table->commands.size(); ++i) texts.push_back(command_help(*table, i));
    for (const auto& text : texts) {
      std::istringstream lines{text};
      for (std::string line; std::getline(lines, line);) CHECK_MESSAGE(line.size() <= 120, line);
    }
  }
}

TEST_CASE("help: every example is a command line that the parser takes") {
  for (const auto* table : {&penstock_table, &penstockd_table})
    for (const auto& command : table->commands) {
      std::istringstream lines{std::string{command.examples}};
      for (std::string line; std::getline(lines, line);) {
        INFO(line);
        auto words = test::words_of(line.substr(0, line.find("  ")));
        REQUIRE(words.size() > 1);
        CHECK(words[0] == table->name);
        words.erase(words.begin());
        const auto outcome = parse_words(*table, words);
        CHECK_FALSE(outcome.error);
        CHECK(outcome.words.command == &command);
      }
    }
}

TEST_CASE("help: a command that is not there yet says so") {
  CHECK(mentions(command_help(penstock_table, command_index(penstock_commands, "hosts list")), "not there yet"));
}

}  // namespace
}  // namespace penstock::tools
