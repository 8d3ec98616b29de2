#include "tools/cli/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace penstock::tools {
namespace {

inline constexpr std::size_t line_width = 100;  // wide enough for the examples, narrow enough for two windows

/// Breaks a paragraph at spaces; every line gets the indentation.
std::string wrapped(std::string_view text, std::size_t indent) {
  std::string out;
  std::string line;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    if (!line.empty() && indent + line.size() + 1 + word.size() > line_width) {
      out += fmt::format("{:{}}{}\n", "", indent, line);
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (!line.empty()) out += fmt::format("{:{}}{}\n", "", indent, line);
  return out;
}

std::string indented(std::string_view lines, std::size_t indent) {
  std::string out;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    out += fmt::format("{:{}}{}\n", "", indent, lines.substr(0, end));
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  return out;
}

std::string option_help(const OptionSpec& spec) {
  std::string head = std::string{spec.short_name};
  if (!head.empty()) head += ", ";
  head += spec.name;
  if (spec.takes_value()) head += fmt::format(" {}", spec.value_name);
  std::string notes;
  const auto note = [&notes](std::string_view what, std::string_view value) {
    if (!value.empty()) notes += fmt::format("{}{}: {}", notes.empty() ? "[" : "; ", what, value);
  };
  note("default", spec.default_text);
  if (!spec.environment.empty()) note("environment", fmt::format("${}", spec.environment));
  note("config", spec.setting);
  if (spec.repeat == Repeat::accumulates) note("may be repeated", "all count");
  note("not there yet", spec.value_not_yet);
  if (!notes.empty()) notes += "]";
  return fmt::format("  {}\n{}{}", head, wrapped(spec.help, 6), wrapped(notes, 6));
}

std::string usage_line(const ProgramSpec& table, const CommandSpec& command) {
  return fmt::format("{} {}{}{} [options]", table.name, command.words, command.operands.empty() ? "" : " ",
                     command.operands);
}

}  // namespace

std::string program_help(const ProgramSpec& table) {
  std::string out = fmt::format("{} - {}\n\nUSAGE\n  {} COMMAND ... [options]\n  {} COMMAND --help\n\nCOMMANDS\n",
                                table.name, table.summary, table.name, table.name);
  std::size_t width = 0;
  for (const auto& command : table.commands)
    width = std::max(width, command.words.size() + 1 + command.operands.size());
  for (const auto& command : table.commands) {
    const std::string head = fmt::format("{} {}", command.words, command.operands);
    out += fmt::format("  {:<{}}  {}{}\n", head, width, command.summary,
                       command.not_yet.empty() ? "" : " (not there yet)");
  }
  out += "\nOPTIONS OF EVERY COMMAND\n";
  const CommandSet all = on_all(table.commands);
  std::string reserved;
  for (const auto& spec : table.options) {
    if (spec.standing == Standing::offered && spec.commands.bits == all.bits) out += option_help(spec);
    if (spec.standing == Standing::reserved) reserved.append(reserved.empty() ? "" : " ").append(spec.name);
  }
  out += "\n  Options stand anywhere, as `--opt value` or `--opt=value`; `--` ends them; the last one wins.\n";
  if (!reserved.empty())
    out += fmt::format("  Reserved for later versions, refused by name:\n{}", wrapped(reserved, 4));
  return fmt::format("{}\n{}", out, table.topics);
}

std::string command_help(const ProgramSpec& table, std::size_t index) {
  const CommandSpec& command = table.commands[index];
  std::string out = fmt::format("{} {} - {}\n", table.name, command.words, command.summary);
  if (!command.not_yet.empty()) return out + fmt::format("\nThis is not there yet: {}.\n", command.not_yet);
  out += fmt::format("\nUSAGE\n  {}\n", usage_line(table, command));
  if (!command.details.empty()) out += fmt::format("\n{}", indented(command.details, 2));
  const auto options_of = [&](bool own) {
    std::string listed;
    for (const auto& spec : table.options)
      if (spec.standing == Standing::offered && spec.commands.contains(index) &&
          (spec.commands.bits != on_all(table.commands).bits) == own)
        listed += option_help(spec);
    return listed;
  };
  if (const std::string own = options_of(true); !own.empty()) out += fmt::format("\nOPTIONS\n{}", own);
  std::string ignored;
  std::string later;
  for (const auto& spec : table.options) {
    if (!spec.commands.contains(index)) continue;
    if (spec.standing == Standing::ignored) ignored.append(" ").append(spec.name);
    if (spec.standing == Standing::reserved) later.append(" ").append(spec.name);
  }
  if (!ignored.empty()) out += wrapped("Accepted and always on:" + ignored, 2);
  if (!later.empty()) out += wrapped("Not there yet, refused by name:" + later, 2);
  if (const std::string common = options_of(false); !common.empty())
    out += fmt::format("\nOPTIONS OF EVERY COMMAND\n{}", common);
  if (!command.examples.empty()) out += fmt::format("\nEXAMPLES\n{}", indented(command.examples, 2));
  return out;
}

}  // namespace penstock::tools
