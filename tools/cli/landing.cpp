#include "tools/cli/landing.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "common/escape.h"
#include "common/path/safe_path.h"

namespace penstock::tools {
namespace {

inline constexpr std::size_t quoted_max = 160;

Error usage(std::string message) { return Error{ErrorCode::USAGE, std::move(message)}; }
std::string in_ticks(std::string_view text) { return fmt::format("`{}`", escape_for_display(text, quoted_max)); }

/// Trailing slashes mean nothing, except that `/` alone is the root.
std::string_view without_trailing_slashes(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path;
}
std::string_view last_component(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

control::SourceWord read_source(std::string_view word) {
  control::SourceWord out;
  std::string_view path = without_trailing_slashes(word);
  while (last_component(path) == ".") {  // `dir/.`, `dir/./.`
    out.contents = true;
    if (path == ".") break;
    path = without_trailing_slashes(path.substr(0, path.size() - 1));
  }
  out.path = path;
  const std::string_view name = last_component(path);
  if (!out.contents && name != "..") out.last_name = name;
  return out;
}

}  // namespace

Result<control::TransferWords> plan_landing(std::span<const std::string> sources, std::string_view destination) {
  control::TransferWords out;
  if (destination.empty()) return usage("the destination is an empty word; `.` is this directory");
  if (destination == "-") return usage("`-` as destination is not there yet: pipes come with a later version");
  const std::string_view dest = without_trailing_slashes(destination);
  const std::string_view dest_name = last_component(dest);
  out.container = destination.ends_with('/') || dest_name == "." || dest_name == "..";
  out.destination = dest;

  for (const auto& word : sources) {
    if (word.empty()) return usage("a source is an empty word; `.` is this directory");
    if (word == "-") return usage("`-` as source is not there yet: pipes come with a later version");
    out.sources.push_back(read_source(word));
  }
  if (out.sources.empty()) return usage("there is nothing to transfer: name at least one source");
  if (out.sources.size() > 1 && !out.container)
    return usage(fmt::format("several sources need a directory to go into; write {} to put them inside",
                             in_ticks(std::string{destination} + "/")));
  if (!out.container) return out;

  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const control::SourceWord& source = out.sources[i];
    if (source.contents) continue;
    if (source.last_name.empty())
      return usage(fmt::format("{} has no name of its own to go under; write {} for what is in it",
                               in_ticks(sources[i]),
                               in_ticks(source.path.ends_with('/') ? source.path + "." : source.path + "/.")));
    names.push_back(source.last_name);
  }
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end())
    return usage(
        fmt::format("two sources have the same last name {} and would land on each other; transfer them one by one",
                    in_ticks(*twice)));
  return out;
}

Result<std::string> normal_remote_path(std::string_view path) {
  std::vector<std::string_view> components;
  for (std::string_view rest = path; !rest.empty();) {
    const std::size_t end = std::min(rest.find('/'), rest.size());
    const std::string_view component = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (component.empty() || component == ".") continue;
    if (component != "..") {
      components.push_back(component);
    } else if (components.empty()) {
      return Error{ErrorCode::PATH_REFUSED,
                   fmt::format("{} leads above `/`, which is all that the daemon shows", in_ticks(path)),
                   std::string{path}};
    } else {
      components.pop_back();
    }
  }
  std::string out;
  for (const auto component : components) out.append("/").append(component);
  if (out.empty()) out += '/';
  if (const auto safe = path::SafePath::parse_absolute(out); !safe) return safe.error();
  return out;
}

}  // namespace penstock::tools
