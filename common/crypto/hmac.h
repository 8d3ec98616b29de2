#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "common/crypto/secret_bytes.h"

namespace penstock::crypto {

inline constexpr std::size_t sha256_size = 32;
using MacSha256 = std::array<std::byte, sha256_size>;

/// HMAC-SHA256 (RFC 2104).
[[nodiscard]] MacSha256 hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> data);

/// Whether `mac`, of any length, is the HMAC; in constant time.
[[nodiscard]] bool verify_hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> data,
                                      std::span<const std::byte> mac);

/// HKDF with SHA-256 (RFC 5869).
[[nodiscard]] SecretArray<sha256_size> hkdf_extract_sha256(std::span<const std::byte> salt,
                                                           std::span<const std::byte> ikm);
/// Fills `out`. Requires: out.size() <= 255 * 32, prk.size() >= 32.
void hkdf_expand_sha256(std::span<const std::byte> prk, std::span<const std::byte> info, std::span<std::byte> out);

}  // namespace penstock::crypto
