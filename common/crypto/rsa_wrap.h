#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "common/crypto/key_schedule.h"
#include "common/crypto/rsa_key.h"

namespace penstock::crypto {

/// RSA-OAEP with SHA-256, MGF1-SHA-256 and `label` (RFC 8017 section 7.1). The label binds the blob to one connection
/// (PROTOCOL section 1, key exchange), so that one relayed from another does not unwrap.
[[nodiscard]] std::vector<std::byte> rsa_wrap(const RsaPublicKey& to, std::span<const std::byte> label,
                                              const SecretArray<session_key_size>& session_key);

/// nullopt for every failure alike: wrong key, wrong label, wrong size, damaged blob. Callers report one error and do
/// the same work either way, so that no oracle appears.
[[nodiscard]] std::optional<SecretArray<session_key_size>> rsa_unwrap(const RsaPrivateKey& with,
                                                                      std::span<const std::byte> label,
                                                                      std::span<const std::byte> wrapped);

}  // namespace penstock::crypto
