#include "control/gate/pin.h"

#include <algorithm>

#include "common/bytes/hex.h"
#include "common/crypto/rsa_key.h"

namespace penstock::control {

namespace {
constexpr std::string_view pin_prefix = "SHA256:";
}

Pin pin_of_spki(std::span<const std::byte> spki_der) { return Pin{crypto::spki_pin(spki_der)}; }

std::string to_string(const Pin& pin) { return std::string{pin_prefix} + bytes::to_hex(pin.sha256); }

std::optional<Pin> parse_pin(std::string_view text) {
  if (text.size() < pin_prefix.size()) return std::nullopt;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  for (std::size_t i = 0; i < pin_prefix.size(); ++i)
    if (lower(text[i]) != lower(pin_prefix[i])) return std::nullopt;
  text.remove_prefix(pin_prefix.size());

  std::string digits;
  if (text.find(':') == std::string_view::npos) {
    digits = text;
  } else {  // AB:CD:..., as openssl x509 -fingerprint prints
    if (text.size() != 32 * 3 - 1) return std::nullopt;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if ((i % 3 == 2) != (text[i] == ':')) return std::nullopt;
      if (text[i] != ':') digits += text[i];
    }
  }
  Pin pin;
  if (!bytes::from_hex(digits, pin.sha256)) return std::nullopt;
  return pin;
}

std::optional<Pin> pin_from_bytes(std::span<const std::byte> bytes) {
  Pin pin;
  if (bytes.size() != pin.sha256.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), pin.sha256.begin());
  return pin;
}

}  // namespace penstock::control
