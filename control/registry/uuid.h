#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace penstock::control {

/// Names a registered client; random (RFC 9562 version 4). By itself it proves nothing.
struct Uuid {
  std::array<std::byte, 16> bytes{};
  auto operator<=>(const Uuid&) const = default;
};

/// A fresh version 4 UUID from the kernel's random source.
Uuid make_uuid();
/// "01234567-89ab-4cde-8f01-23456789abcd", lower case.
std::string to_string(const Uuid& uuid);
/// Accepts exactly the form above, in either case.
std::optional<Uuid> parse_uuid(std::string_view text);
/// Exactly 16 bytes, as on the wire.
std::optional<Uuid> uuid_from_bytes(std::span<const std::byte> bytes);

}  // namespace penstock::control
