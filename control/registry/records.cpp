#include "control/registry/records.h"

#include "common/bytes/hex.h"

namespace penstock::control {

std::string to_string(const TokenId& id) { return bytes::to_hex(id.bytes); }

std::optional<TokenId> parse_token_id(std::string_view hex) {
  TokenId id;
  if (!bytes::from_hex(hex, id.bytes)) return std::nullopt;
  return id;
}

}  // namespace penstock::control
