#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::bytes {

/// Lower-case hexadecimal, two digits a byte.
[[nodiscard]] std::string to_hex(std::span<const std::byte> data);

/// Digits of either case; nullopt for an odd count or anything else.
[[nodiscard]] std::optional<std::vector<std::byte>> from_hex(std::string_view text);

/// As from_hex, into exactly `out.size()` bytes: false for any other length, `out` then unspecified.
[[nodiscard]] bool from_hex(std::string_view text, std::span<std::byte> out);

}  // namespace penstock::bytes
