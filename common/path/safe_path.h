#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"

namespace penstock::path {

inline constexpr std::size_t component_size_max = 255;  // PROTOCOL section 1, "Manifest"
inline constexpr std::size_t partial_name_bits = 128;

enum class NameProblem : std::uint8_t { empty, too_long, dot, dot_dot, slash, nul, reserved };

/// What is wrong with one name that a peer or user gave, if anything. Reserved: `.penstock-*.part`, our own partials.
[[nodiscard]] std::optional<NameProblem> check_name(std::string_view name);

/// True for `.penstock-*.part`: hidden from listings, refused in requests.
[[nodiscard]] bool is_partial_name(std::string_view name);

/// Orders paths component by component, each by its bytes: a directory comes right before all that is beneath it, which
/// plain string order gets wrong (`a`, `a/x`, `a.b`, not `a`, `a.b`, `a/x`). Both are relative, as in a manifest.
[[nodiscard]] std::strong_ordering compare_paths(std::string_view a, std::string_view b);

/// One checked component: the only thing that at-calls take.
class Component {
 public:
  /// NAME_TOO_LONG or PATH_REFUSED, with a sentence that says why.
  [[nodiscard]] static Result<Component> parse(std::string_view name);
  /// `.penstock-<32 hex digits>.part`, the one way to a reserved name.
  [[nodiscard]] static Component partial(std::span<const std::byte, partial_name_bits / 8> random_bits);
  /// A name read back from our own journal; nullopt unless it is exactly such a partial name.
  [[nodiscard]] static std::optional<Component> parse_partial(std::string_view name);

  [[nodiscard]] const std::string& text() const { return name_; }
  [[nodiscard]] const char* c_str() const { return name_.c_str(); }
  auto operator<=>(const Component&) const = default;

 private:
  friend class SafePath;
  explicit Component(std::string_view name) : name_(name) {}
  std::string name_;
};

/// A checked path beneath some root: components 1-255 bytes, no `/` or NUL in them, none `.` or `..` or reserved. Any
/// bytes otherwise, any depth. Empty means the root itself. Ordered as compare_paths.
class SafePath {
 public:
  SafePath() = default;
  /// Exactly as a manifest carries it: relative, single slashes, none at the ends. The empty text is the root.
  [[nodiscard]] static Result<SafePath> parse_relative(std::string_view text);
  /// As a user writes a remote path: one leading `/` at least; repeated and trailing slashes are dropped.
  [[nodiscard]] static Result<SafePath> parse_absolute(std::string_view text);

  [[nodiscard]] bool is_root() const { return text_.empty(); }
  /// `a/b/c`, without a leading slash.
  [[nodiscard]] const std::string& text() const { return text_; }
  /// `/a/b/c`, for people.
  [[nodiscard]] std::string absolute_text() const { return "/" + text_; }
  [[nodiscard]] std::size_t depth() const;
  /// Views into text().
  [[nodiscard]] std::vector<std::string_view> components() const;
  /// Requires: !is_root().
  [[nodiscard]] SafePath parent() const;
  [[nodiscard]] Component name() const;
  [[nodiscard]] SafePath child(const Component& name) const;
  [[nodiscard]] SafePath joined(const SafePath& below) const;
  /// True for itself and everything beneath it.
  [[nodiscard]] bool contains(const SafePath& other) const;
  /// `other` relative to this. Requires: contains(other).
  [[nodiscard]] SafePath relative(const SafePath& other) const;

  bool operator==(const SafePath&) const = default;
  std::strong_ordering operator<=>(const SafePath& other) const { return compare_paths(text_, other.text_); }

 private:
  explicit SafePath(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace penstock::path
