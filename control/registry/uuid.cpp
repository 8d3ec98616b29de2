#include "control/registry/uuid.h"

#include <algorithm>

#include "common/bytes/hex.h"
#include "common/crypto/random.h"

namespace penstock::control {

Uuid make_uuid() {
  Uuid uuid{crypto::random_array<16>()};
  // RFC 9562 section 5.4: version 4 in the high half of byte 6, variant 10 in the top bits of byte 8.
  uuid.bytes[6] = (uuid.bytes[6] & std::byte{0x0f}) | std::byte{0x40};
  uuid.bytes[8] = (uuid.bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  return uuid;
}

std::string to_string(const Uuid& uuid) {
  std::string text;
  for (const char digit : bytes::to_hex(uuid.bytes)) {
    if (text.size() == 8 || text.size() == 13 || text.size() == 18 || text.size() == 23) text += '-';
    text += digit;
  }
  return text;
}

std::optional<Uuid> parse_uuid(std::string_view text) {
  if (text.size() != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-') return std::nullopt;
  std::string digits;
  std::copy_if(text.begin(), text.end(), std::back_inserter(digits), [](char c) { return c != '-'; });
  Uuid uuid;
  if (!bytes::from_hex(digits, uuid.bytes)) return std::nullopt;
  return uuid;
}

std::optional<Uuid> uuid_from_bytes(std::span<const std::byte> bytes) {
  Uuid uuid;
  if (bytes.size() != uuid.bytes.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), uuid.bytes.begin());
  return uuid;
}

}  // namespace penstock::control
