#include "common/bytes/base64.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace penstock::bytes {
namespace {

constexpr std::string_view standard_alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view url_alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string encode(std::span<const std::byte> data, std::string_view alphabet) {
  std::string text;
  text.reserve((data.size() * 4 + 2) / 3 + 2);
  for (std::size_t i = 0; i < data.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, data.size() - i);
    std::uint32_t group = 0;  // 24 bits, missing bytes as zeros
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (j < count ? std::to_integer<std::uint32_t>(data[i + j]) : 0);
    for (std::size_t j = 0; j <= count; ++j) text += alphabet[group >> (18 - 6 * j) & 0x3f];
  }
  return text;
}

constexpr std::array<std::int8_t, 256> url_values = [] {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < url_alphabet.size(); ++i)
    values[static_cast<std::uint8_t>(url_alphabet[i])] = static_cast<std::int8_t>(i);
  return values;
}();

}  // namespace

std::string to_base64url(std::span<const std::byte> data) { return encode(data, url_alphabet); }

std::string to_base64(std::span<const std::byte> data) {
  std::string text = encode(data, standard_alphabet);
  while (text.size() % 4 != 0) text += '=';
  return text;
}

std::optional<std::size_t> from_base64url(std::string_view text, std::span<std::byte> out) {
  if (text.size() % 4 == 1) return std::nullopt;  // six bits alone make no byte
  const std::size_t size = text.size() / 4 * 3 + (text.size() % 4 == 0 ? 0 : text.size() % 4 - 1);
  if (size > out.size()) return std::nullopt;
  std::uint32_t bits = 0;
  unsigned bit_count = 0;
  std::size_t written = 0;
  for (const char c : text) {
    const int value = url_values[static_cast<std::uint8_t>(c)];
    if (value < 0) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    bit_count += 6;
    if (bit_count >= 8) {
      bit_count -= 8;
      out[written++] = static_cast<std::byte>(bits >> bit_count & 0xff);
      bits &= (1U << bit_count) - 1;
    }
  }
  if (bits != 0) return std::nullopt;  // spare bits must be zero, else two texts would mean one value
  return written;
}

std::optional<std::vector<std::byte>> from_base64url(std::string_view text) {
  std::vector<std::byte> out(text.size() / 4 * 3 + 3);
  const auto size = from_base64url(text, out);
  if (!size) return std::nullopt;
  out.resize(*size);
  return out;
}

}  // namespace penstock::bytes
