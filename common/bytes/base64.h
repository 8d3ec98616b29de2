#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::bytes {

/// base64url without padding (RFC 4648 section 5): tokens and identifiers.
[[nodiscard]] std::string to_base64url(std::span<const std::byte> data);

/// Strict inverse: no padding, no white space, no spare bits set; so one value has exactly one text.
[[nodiscard]] std::optional<std::vector<std::byte>> from_base64url(std::string_view text);

/// As from_base64url into the caller's buffer (which can be wiped): the count written, or nullopt when the text is
/// malformed or longer than `out`; `out` is then unspecified.
[[nodiscard]] std::optional<std::size_t> from_base64url(std::string_view text, std::span<std::byte> out);

/// Standard base64 with padding (RFC 4648 section 4), as `base64 -d` reads it: JSON's `path_b64`.
[[nodiscard]] std::string to_base64(std::span<const std::byte> data);

}  // namespace penstock::bytes
