#include "tools/config/settings.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/escape.h"
#include "common/unique_fd.h"

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace penstock::tools {
namespace {

inline constexpr std::size_t config_size_max = 1024 * 1024;  // more than any person writes

Error invalid(std::string message) { return Error{ErrorCode::CONFIG_INVALID, std::move(message)}; }

std::string place(std::string_view file, const toml::source_region& source) {
  return fmt::format("{}:{}", escape_for_display(file), source.begin.line);
}

std::string_view type_name(SettingType type) {
  switch (type) {
    case SettingType::text:
      return "a string in quotes";
    case SettingType::integer:
      return "a number";
    case SettingType::boolean:
      return "true or false";
    case SettingType::text_list:
      return "a list of strings, as in [\"a\", \"b\"]";
  }
  return "";
}

std::optional<std::vector<std::string>> texts_of(const toml::node& node, SettingType type) {
  switch (type) {
    case SettingType::text:
      if (const auto* text = node.as_string()) return std::vector{text->get()};
      return std::nullopt;
    case SettingType::integer:
      if (const auto* number = node.as_integer()) return std::vector{std::to_string(number->get())};
      return std::nullopt;
    case SettingType::boolean:
      if (const auto* flag = node.as_boolean()) return std::vector<std::string>{flag->get() ? "true" : "false"};
      return std::nullopt;
    case SettingType::text_list: {
      const auto* list = node.as_array();
      if (!list) return std::nullopt;
      std::vector<std::string> texts;
      for (const auto& item : *list) {
        const auto* text = item.as_string();
        if (!text) return std::nullopt;
        texts.push_back(text->get());
      }
      return texts;
    }
  }
  return std::nullopt;
}

Result<SettingLayer> read_table(const toml::table& table, std::span<const SettingSpec> specs,
                                std::string_view table_name, std::string_view file) {
  SettingLayer layer;
  for (const auto& [key, node] : table) {
    const auto spec = std::ranges::find(specs, key.str(), &SettingSpec::key);
    const std::string where = place(file, key.source());
    if (spec == specs.end()) {
      std::string known;
      for (const auto& one : specs) known.append(known.empty() ? "" : ", ").append(one.key);
      return invalid(fmt::format("{}: there is no key `{}`{}; there is: {}", where, escape_for_display(key.str(), 64),
                                 table_name, known));
    }
    auto texts = texts_of(node, spec->type);
    if (!texts) return invalid(fmt::format("{}: `{}` takes {}", where, key.str(), type_name(spec->type)));
    if (std::ranges::any_of(*texts, [](const std::string& text) { return text.find('\0') != std::string::npos; }))
      return invalid(fmt::format("{}: `{}` holds a NUL", where, key.str()));
    layer.set(std::string{key.str()}, {std::move(*texts), where});
  }
  return layer;
}

Result<toml::table> parse(std::string_view text, std::string_view file) {
  toml::parse_result parsed = toml::parse(text, file);
  if (!parsed)
    return invalid(fmt::format("{}: this is not TOML: {}", place(file, parsed.error().source()),
                               escape_for_display(parsed.error().description(), 300)));
  return std::move(parsed).table();
}

}  // namespace

const SettingValue* SettingLayer::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

Result<ClientConfigFile> parse_client_config(std::string_view text, std::string_view file) {
  auto root = parse(text, file);
  if (!root) return root.error();
  std::vector<SettingSpec> host_specs(std::begin(host_settings), std::end(host_settings));
  host_specs.insert(host_specs.end(), std::begin(client_settings), std::end(client_settings));

  ClientConfigFile out;
  for (const auto& [key, node] : *root) {
    const std::string where = place(file, key.source());
    const auto* table = node.as_table();
    if ((key.str() != "defaults" && key.str() != "host") || !table)
      return invalid(fmt::format("{}: `{}` is neither the table [defaults] nor a table [host.ALIAS]", where,
                                 escape_for_display(key.str(), 64)));
    if (key.str() == "defaults") {
      auto layer = read_table(*table, client_settings, " in [defaults]", file);
      if (!layer) return layer.error();
      out.defaults = std::move(*layer);
      continue;
    }
    for (const auto& [alias, host_node] : *table) {
      const auto* host_table = host_node.as_table();
      if (!host_table)
        return invalid(fmt::format("{}: `{}` stands outside a table [host.ALIAS]", place(file, alias.source()),
                                   escape_for_display(alias.str(), 64)));
      auto layer =
          read_table(*host_table, host_specs, fmt::format(" in [host.{}]", escape_for_display(alias.str(), 64)), file);
      if (!layer) return layer.error();
      out.hosts.insert_or_assign(std::string{alias.str()}, std::move(*layer));
    }
  }
  return out;
}

Result<SettingLayer> parse_daemon_config(std::string_view text, std::string_view file) {
  auto root = parse(text, file);
  if (!root) return root.error();
  return read_table(*root, daemon_settings, "", file);
}

Result<std::string> read_config_file(const std::string& file) {
  const auto failed = [&](int cause) {
    return Error{cause == ENOENT ? ErrorCode::NOT_FOUND : ErrorCode::CONFIG_INVALID,
                 fmt::format("cannot read the configuration {}: {}", escape_for_display(file), std::strerror(cause)),
                 file};
  };
  const UniqueFd fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!fd) return failed(errno);
  std::string text;
  char buffer[8192];
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got == 0) return text;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno);
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > config_size_max)
      return invalid(fmt::format("the configuration {} is larger than 1 MiB", escape_for_display(file)));
  }
}

}  // namespace penstock::tools
