#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "tools/cli/parser.h"
#include "tools/config/places.h"
#include "tools/config/settings.h"

namespace penstock::tools {

/// The text of one setting and who said it.
struct FoundSetting {
  std::vector<std::string> texts;      // never empty
  std::string where;                   // "--rate", "$PENSTOCK_RATE" or "FILE:LINE: `rate`"
  ErrorCode blame = ErrorCode::USAGE;  // CONFIG_INVALID when a file said it
  bool built_in = false;               // nobody said it

  [[nodiscard]] const std::string& text() const { return texts.back(); }
  /// The sentence with its place in front.
  [[nodiscard]] Error refuse(std::string_view why) const;
};

/// Finds settings in the order of CLI.md section 1: option, environment, layers as given, built in.
/// Everything is borrowed for the life of the lookup.
class SettingLookup {
 public:
  SettingLookup(const ProgramSpec& table, const ParsedWords& words, const Environment& environment,
                std::vector<const SettingLayer*> layers)
      : table_(table), words_(words), environment_(environment), layers_(std::move(layers)) {}

  /// `key` is the setting's name in the configuration file; options and variables are found by the table. nullopt when
  /// nobody says anything and nothing is built in.
  [[nodiscard]] std::optional<FoundSetting> find(std::string_view key) const;

  /// The value after `parse` (text to Result); nullopt as find. Errors say where the text stood.
  template <class Parse>
  auto value(std::string_view key, Parse parse) const
      -> Result<std::optional<typename decltype(parse(""))::value_type>> {
    using Value = typename decltype(parse(""))::value_type;
    const auto found = find(key);
    if (!found) return std::optional<Value>{};
    auto parsed = parse(found->text());
    if (!parsed) return found->refuse(parsed.error().message);
    return std::optional<Value>{std::move(*parsed)};
  }

 private:
  const ProgramSpec& table_;
  const ParsedWords& words_;
  const Environment& environment_;
  std::vector<const SettingLayer*> layers_;
};

/// One of several words. `later` are words that a later version understands: refused as such, by name.
template <class T>
Result<T> parse_choice(std::string_view text, std::initializer_list<std::pair<std::string_view, T>> choices,
                       std::initializer_list<std::string_view> later = {}) {
  std::string known;
  for (const auto& [word, value] : choices) {
    if (word == text) return value;
    known.append(known.empty() ? "" : ", ").append(word);
  }
  for (const auto word : later)
    if (word == text)
      return Error{ErrorCode::USAGE,
                   std::string{word} + " is not there yet, it comes with a later version; there is: " + known};
  return Error{ErrorCode::USAGE, "that is none of its values; there is: " + known};
}

/// `auto` (true: where the kernel offers it) or `off`.
inline Result<bool> parse_switch(std::string_view text) {
  return parse_choice<bool>(text, {{"auto", true}, {"off", false}});
}

}  // namespace penstock::tools
