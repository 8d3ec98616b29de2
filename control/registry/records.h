#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "control/registry/grant.h"
#include "control/registry/uuid.h"

namespace penstock::control {

/// Seconds since 1970, from whoever has a wall clock; the registry never reads one.
struct UnixSeconds {
  std::int64_t value = 0;
  auto operator<=>(const UnixSeconds&) const = default;
};

/// Public name of an enrolment token; eight random bytes, printed as 16 hex digits.
struct TokenId {
  std::array<std::byte, 8> bytes{};
  auto operator<=>(const TokenId&) const = default;
};
std::string to_string(const TokenId& id);
std::optional<TokenId> parse_token_id(std::string_view hex);

using Sha256Digest = std::array<std::byte, 32>;

/// A client that the gate may let in. Strings are raw bytes from operators and peers: escape before showing.
struct ClientRecord {
  Uuid uuid = {};
  std::string user = {};                   // label from its token
  std::string name = {};                   // what the client calls itself
  std::vector<std::byte> public_key = {};  // DER SubjectPublicKeyInfo
  std::vector<Grant> grants = {};
  UnixSeconds created = {};
  std::optional<UnixSeconds> last_seen = {};
  std::optional<UnixSeconds> revoked = {};

  bool operator==(const ClientRecord&) const = default;
};

/// A token without its secret: only the SHA-256 of the secret is kept.
struct TokenRecord {
  TokenId id = {};
  Sha256Digest secret_sha256{};
  std::string user = {};
  std::vector<Grant> grants = {};
  UnixSeconds created = {};
  UnixSeconds expires = {};
  std::optional<Uuid> used_by = {};
  std::optional<UnixSeconds> revoked = {};

  bool operator==(const TokenRecord&) const = default;
};

enum class TransferDirection : std::uint8_t { push, pull };

/// One row of the log of transfers; `outcome` is empty while it runs, "done", or an error's NAME.
struct TransferRecord {
  std::array<std::byte, 16> id{};
  Uuid client = {};
  TransferDirection direction = TransferDirection::push;
  std::string path = {};  // raw bytes
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
  UnixSeconds started = {};
  std::optional<UnixSeconds> ended = {};
  std::string outcome = {};

  bool operator==(const TransferRecord&) const = default;
};

}  // namespace penstock::control
