#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

/// One step through bytes that claim to be UTF-8.
struct Utf8Step {
  std::optional<char32_t> code_point;  // nullopt: the next `length` bytes are a maximal ill-formed part
  std::size_t length;                  // bytes to advance, at least 1
};

/// Reads the first code point of `text`. Overlong forms, surrogates and values beyond U+10FFFF are ill-formed.
/// Source: RFC 3629; Unicode 15 section 3.9, "U+FFFD substitution of maximal subparts". Requires: !text.empty().
[[nodiscard]] Utf8Step utf8_step(std::string_view text);

[[nodiscard]] bool is_valid_utf8(std::string_view text);

/// `text` with U+FFFD for each maximal ill-formed part: JSON's `path` where `path_b64` carries the bytes.
[[nodiscard]] std::string utf8_with_replacements(std::string_view text);

}  // namespace penstock
