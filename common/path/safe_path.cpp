#include "common/path/safe_path.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/bytes/hex.h"
#include "common/check.h"
#include "common/escape.h"

namespace penstock::path {
namespace {

constexpr std::string_view partial_prefix = ".penstock-";
constexpr std::string_view partial_suffix = ".part";
constexpr std::size_t shown_length_max = 200;  // a refused name may be of any size

Error refusal(NameProblem problem, std::string_view name, std::string_view whole) {
  const std::string shown = escape_for_display(whole, shown_length_max);
  const auto error = [&](ErrorCode code, std::string message) {
    return Error{.code = code, .message = std::move(message), .path = std::string{whole}};
  };
  switch (problem) {
    case NameProblem::empty:
      return error(ErrorCode::PATH_REFUSED,
                   "the path " + shown + " has an empty name in it; write one slash between names");
    case NameProblem::too_long:
      return error(ErrorCode::NAME_TOO_LONG, "a name in " + shown + " has " + std::to_string(name.size()) +
                                                 " bytes; a name may have at most 255, choose a shorter one");
    case NameProblem::dot:
    case NameProblem::dot_dot:
      return error(ErrorCode::PATH_REFUSED,
                   "the path " + shown + " contains . or .. as a name; write the path without them");
    case NameProblem::slash:
      return error(ErrorCode::PATH_REFUSED, "the name " + shown + " contains a slash; give one name alone");
    case NameProblem::nul:
      return error(ErrorCode::PATH_REFUSED, "the path " + shown + " contains a zero byte; no file can have that name");
    case NameProblem::reserved:
      return error(ErrorCode::PATH_REFUSED, "the path " + shown +
                                                " has a name of the form .penstock-*.part, which is reserved for "
                                                "unfinished transfers; choose another");
  }
  PENSTOCK_UNREACHABLE("a NameProblem has a sentence");
}

/// Takes the next component off `rest`. Requires: !rest.empty().
std::string_view take_component(std::string_view& rest) {
  const std::size_t slash = rest.find('/');
  const std::string_view component = rest.substr(0, slash);
  rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
  return component;
}

}  // namespace

std::optional<NameProblem> check_name(std::string_view name) {
  if (name.empty()) return NameProblem::empty;
  if (name.size() > component_size_max) return NameProblem::too_long;
  if (name == ".") return NameProblem::dot;
  if (name == "..") return NameProblem::dot_dot;
  if (name.find('/') != std::string_view::npos) return NameProblem::slash;
  if (name.find('\0') != std::string_view::npos) return NameProblem::nul;
  if (is_partial_name(name)) return NameProblem::reserved;
  return std::nullopt;
}

bool is_partial_name(std::string_view name) {
  return name.size() >= partial_prefix.size() + partial_suffix.size() && name.starts_with(partial_prefix) &&
         name.ends_with(partial_suffix);
}

std::strong_ordering compare_paths(std::string_view a, std::string_view b) {
  const auto [left, right] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  if (left == a.end() && right == b.end()) return std::strong_ordering::equal;
  // A component that ends here comes before one that goes on, so the end ranks lowest, then the slash, then all bytes.
  const auto rank = [](std::string_view::iterator at, std::string_view::iterator end) {
    if (at == end) return -2;
    return *at == '/' ? -1 : static_cast<int>(static_cast<unsigned char>(*at));
  };
  return rank(left, a.end()) <=> rank(right, b.end());
}

Result<Component> Component::parse(std::string_view name) {
  if (const auto problem = check_name(name)) return refusal(*problem, name, name);
  return Component{name};
}

Component Component::partial(std::span<const std::byte, partial_name_bits / 8> random_bits) {
  return Component{std::string{partial_prefix} + bytes::to_hex(random_bits) + std::string{partial_suffix}};
}

std::optional<Component> Component::parse_partial(std::string_view name) {
  if (!is_partial_name(name)) return std::nullopt;
  const auto digits = name.substr(partial_prefix.size(), name.size() - partial_prefix.size() - partial_suffix.size());
  std::array<std::byte, partial_name_bits / 8> bits;
  if (!bytes::from_hex(digits, bits) || partial(bits).text() != name) return std::nullopt;  // lower case only
  return Component{name};
}

Result<SafePath> SafePath::parse_relative(std::string_view text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const bool ends_in_slash = rest.back() == '/';
    const std::string_view component = take_component(rest);
    if (const auto problem = check_name(component)) return refusal(*problem, component, text);
    if (rest.empty() && ends_in_slash) return refusal(NameProblem::empty, {}, text);
  }
  return SafePath{std::string{text}};
}

Result<SafePath> SafePath::parse_absolute(std::string_view text) {
  if (!text.starts_with('/')) {
    return Error{.code = ErrorCode::PATH_REFUSED,
                 .message = "the path " + escape_for_display(text, shown_length_max) +
                            " does not begin with a slash; write /" + escape_for_display(text, shown_length_max),
                 .path = std::string{text}};
  }
  std::string joined;
  joined.reserve(text.size());
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view component = take_component(rest);
    if (component.empty()) continue;
    if (const auto problem = check_name(component)) return refusal(*problem, component, text);
    if (!joined.empty()) joined += '/';
    joined += component;
  }
  return SafePath{std::move(joined)};
}

std::size_t SafePath::depth() const {
  if (is_root()) return 0;
  return static_cast<std::size_t>(std::count(text_.begin(), text_.end(), '/')) + 1;
}

std::vector<std::string_view> SafePath::components() const {
  std::vector<std::string_view> parts;
  for (std::string_view rest = text_; !rest.empty();) parts.push_back(take_component(rest));
  return parts;
}

SafePath SafePath::parent() const {
  PENSTOCK_CHECK(!is_root());
  const std::size_t slash = text_.rfind('/');
  return slash == std::string::npos ? SafePath{} : SafePath{text_.substr(0, slash)};
}

Component SafePath::name() const {
  PENSTOCK_CHECK(!is_root());
  const std::size_t slash = text_.rfind('/');
  return Component{slash == std::string::npos ? std::string_view{text_} : std::string_view{text_}.substr(slash + 1)};
}

SafePath SafePath::child(const Component& name) const {
  return SafePath{is_root() ? name.text() : text_ + '/' + name.text()};
}

SafePath SafePath::joined(const SafePath& below) const {
  if (below.is_root()) return *this;
  return SafePath{is_root() ? below.text_ : text_ + '/' + below.text_};
}

bool SafePath::contains(const SafePath& other) const {
  if (is_root()) return true;
  return other.text_.starts_with(text_) && (other.text_.size() == text_.size() || other.text_[text_.size()] == '/');
}

SafePath SafePath::relative(const SafePath& other) const {
  PENSTOCK_CHECK(contains(other));
  if (is_root()) return other;
  if (other.text_.size() == text_.size()) return SafePath{};
  return SafePath{other.text_.substr(text_.size() + 1)};
}

}  // namespace penstock::path
