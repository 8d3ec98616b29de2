#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

namespace penstock {

/// A hostile name made safe for one line of a terminal or log, unambiguously: valid printable UTF-8 stays; a backslash
/// is doubled; \n \r \t by those names; other ASCII controls and bytes that are not UTF-8 as \xNN; code points that are
/// invisible, break lines or reorder text (C1 controls, bidi controls, zero-width and line separators, tags, other
/// format characters, noncharacters) as \u{hex}.
/// A result longer than `length_max` bytes is cut before the escape or code point that passes it, and `...` follows
/// beyond the bound.
[[nodiscard]] std::string escape_for_display(std::string_view raw,
                                             std::size_t length_max = std::numeric_limits<std::size_t>::max());

/// The same for a sentence in which names have been escaped already: a backslash stays single.
[[nodiscard]] std::string escape_sentence(std::string_view text,
                                          std::size_t length_max = std::numeric_limits<std::size_t>::max());

}  // namespace penstock
