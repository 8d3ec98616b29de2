#pragma once

#include <google/protobuf/repeated_field.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes/view.h"
#include "common/crypto/aead.h"
#include "common/units.h"
#include "control/proto/gate.pb.h"

namespace penstock::control {

// How the key exchange's values stand in protobuf fields, for both halves; not for other rooms.

static_assert(static_cast<int>(proto::AES_256_GCM) == static_cast<int>(crypto::AeadAlgorithm::aes_256_gcm));
static_assert(static_cast<int>(proto::CHACHA20_POLY1305) == static_cast<int>(crypto::AeadAlgorithm::chacha20_poly1305));

inline std::optional<crypto::AeadAlgorithm> suite_from_number(int number) {
  if (number == proto::AES_256_GCM) return crypto::AeadAlgorithm::aes_256_gcm;
  if (number == proto::CHACHA20_POLY1305) return crypto::AeadAlgorithm::chacha20_poly1305;
  return std::nullopt;  // a newer peer's
}

inline std::string to_field(std::span<const std::byte> bytes) { return std::string{bytes::as_text(bytes)}; }

inline std::vector<ConnectionId> ids_from_field(const google::protobuf::RepeatedField<std::uint64_t>& field) {
  std::vector<ConnectionId> ids;
  for (const auto value : field) ids.push_back({value});
  return ids;
}

/// 1 to crypto::lanes_max ids, no two alike.
bool are_lane_ids(const std::vector<ConnectionId>& ids);

/// What both have, in our order. Looks at a bounded number of the peer's.
std::vector<std::string> common_capabilities(const std::vector<std::string>& ours,
                                             const google::protobuf::RepeatedPtrField<std::string>& theirs);

/// The text as a protobuf string may carry it: valid UTF-8 of at most short_text_max bytes.
std::string short_text(std::string_view text);

}  // namespace penstock::control
