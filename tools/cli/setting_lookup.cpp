#include "tools/cli/setting_lookup.h"

#include <fmt/format.h>

namespace penstock::tools {

Error FoundSetting::refuse(std::string_view why) const { return Error{blame, fmt::format("{}: {}", where, why)}; }

std::optional<FoundSetting> SettingLookup::find(std::string_view key) const {
  const OptionSpec* spec = nullptr;
  for (const auto& option : table_.options)
    if (option.setting == key) spec = &option;

  if (spec) {
    if (spec->takes_value()) {
      auto given = words_.all(spec->name);
      if (!given.empty()) return FoundSetting{std::move(given), std::string{spec->name}};
    } else {
      if (words_.has(spec->name)) return FoundSetting{{"true"}, std::string{spec->name}};
      if (words_.has(spec->cancelled_by)) return FoundSetting{{"false"}, std::string{spec->cancelled_by}};
    }
    if (!spec->environment.empty())
      if (auto value = environment_.get(spec->environment))
        return FoundSetting{{std::move(*value)}, fmt::format("${}", spec->environment)};
  }
  for (const SettingLayer* layer : layers_) {
    const SettingValue* value = layer ? layer->find(key) : nullptr;
    if (value && !value->texts.empty())
      return FoundSetting{value->texts, fmt::format("{}: `{}`", value->where, key), ErrorCode::CONFIG_INVALID};
  }
  if (spec && !spec->default_text.empty())
    return FoundSetting{{std::string{spec->default_text}}, "built in", ErrorCode::INTERNAL, true};
  return std::nullopt;
}

}  // namespace penstock::tools
