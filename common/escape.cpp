#include "common/escape.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "common/utf8.h"

namespace penstock {
namespace {

struct CodePointRange {
  char32_t first;
  char32_t last;
};

// What a terminal does not show as a glyph of its own, or shows elsewhere than it stands: Unicode 15 categories Cc, Cf,
// Zl, Zp and the default-ignorable code points; written out, since no library at hand knows them. Ascending.
constexpr CodePointRange hidden_ranges[] = {
    {0x0000, 0x001f},   {0x007f, 0x009f},   {0x00ad, 0x00ad},   {0x034f, 0x034f},   {0x0600, 0x0605},
    {0x061c, 0x061c},   {0x06dd, 0x06dd},   {0x070f, 0x070f},   {0x0890, 0x0891},   {0x08e2, 0x08e2},
    {0x115f, 0x1160},   {0x17b4, 0x17b5},   {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},
    {0x2060, 0x206f},   {0x3164, 0x3164},   {0xfdd0, 0xfdef},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
    {0xffa0, 0xffa0},   {0xfff0, 0xfffb},   {0xfffe, 0xffff},   {0x110bd, 0x110bd}, {0x110cd, 0x110cd},
    {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

bool is_hidden(char32_t c) {
  if ((c & 0xfffe) == 0xfffe) return true;  // the last two of every plane are noncharacters
  const auto* range = std::lower_bound(std::begin(hidden_ranges), std::end(hidden_ranges), c,
                                       [](const CodePointRange& r, char32_t value) { return r.last < value; });
  return range != std::end(hidden_ranges) && c >= range->first;
}

void append_hex(std::string& out, std::uint32_t value, int digits_min) {
  int digits = digits_min;
  while (digits < 8 && value >> (4 * digits) != 0) ++digits;
  while (digits-- > 0) out += "0123456789abcdef"[value >> (4 * digits) & 0xf];
}

std::string escaped(std::string_view piece, const Utf8Step& step) {
  std::string out;
  if (!step.code_point) {
    for (const char c : piece) {
      out += "\\x";
      append_hex(out, static_cast<std::uint8_t>(c), 2);
    }
    return out;
  }
  switch (const char32_t c = *step.code_point) {
    case U'\\':
      return "\\\\";
    case U'\n':
      return "\\n";
    case U'\r':
      return "\\r";
    case U'\t':
      return "\\t";
    default:
      if (!is_hidden(c)) return std::string{piece};
      if (c < 0x80) {
        out = "\\x";
        append_hex(out, c, 2);
      } else {
        out = "\\u{";
        append_hex(out, c, 4);
        out += '}';
      }
      return out;
  }
}

}  // namespace

std::string escape_for_display(std::string_view raw, std::size_t length_max) {
  std::string out;
  out.reserve(std::min(raw.size(), length_max));
  while (!raw.empty()) {
    const Utf8Step step = utf8_step(raw);
    const std::string piece = escaped(raw.substr(0, step.length), step);
    if (piece.size() > length_max - out.size()) return out + "...";
    out += piece;
    raw.remove_prefix(step.length);
  }
  return out;
}

std::string escape_sentence(std::string_view text, std::size_t length_max) {
  std::string out;
  while (out.size() <= length_max) {
    const std::size_t backslash = text.find('\\');
    out += escape_for_display(text.substr(0, backslash), length_max - out.size());
    if (backslash == std::string_view::npos || out.size() >= length_max) break;
    out += '\\';
    text.remove_prefix(backslash + 1);
  }
  return out;
}

}  // namespace penstock
