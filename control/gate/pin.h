#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace penstock::control {

/// SHA-256 of a daemon's SubjectPublicKeyInfo in DER: who the daemon is, whatever its certificate or name says.
struct Pin {
  std::array<std::byte, 32> sha256{};
  auto operator<=>(const Pin&) const = default;
};

/// The pin of this key.
Pin pin_of_spki(std::span<const std::byte> spki_der);
/// "SHA256:" and 64 lower-case hex digits, as on the ready line.
std::string to_string(const Pin& pin);
/// Accepts exactly that, in either case, with or without colons between the bytes.
std::optional<Pin> parse_pin(std::string_view text);
/// Exactly 32 bytes, as on the wire and in tokens.
std::optional<Pin> pin_from_bytes(std::span<const std::byte> bytes);

}  // namespace penstock::control
