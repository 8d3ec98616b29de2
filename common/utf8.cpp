#include "common/utf8.h"

#include <cstdint>

#include "common/check.h"

namespace penstock {

Utf8Step utf8_step(std::string_view text) {
  PENSTOCK_CHECK(!text.empty());
  const auto byte_at = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte_at(0);
  if (lead < 0x80) return {lead, 1};

  // The second byte's range is what refuses overlong forms, surrogates and values past U+10FFFF (Unicode table 3-7).
  std::size_t length = 0;
  std::uint8_t second_low = 0x80;
  std::uint8_t second_high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) second_low = 0xa0;
    if (lead == 0xed) second_high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) second_low = 0x90;
    if (lead == 0xf4) second_high = 0x8f;
  } else {
    return {std::nullopt, 1};
  }

  auto code_point = static_cast<char32_t>(lead & (0x7f >> length));
  for (std::size_t i = 1; i < length; ++i) {
    const std::uint8_t low = i == 1 ? second_low : 0x80;
    const std::uint8_t high = i == 1 ? second_high : 0xbf;
    if (i >= text.size() || byte_at(i) < low || byte_at(i) > high) return {std::nullopt, i};
    code_point = code_point << 6 | (byte_at(i) & 0x3f);
  }
  return {code_point, length};
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    if (!step.code_point) return false;
    text.remove_prefix(step.length);
  }
  return true;
}

std::string utf8_with_replacements(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    out += step.code_point ? text.substr(0, step.length) : std::string_view{"\xef\xbf\xbd"};
    text.remove_prefix(step.length);
  }
  return out;
}

}  // namespace penstock
