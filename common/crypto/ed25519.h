#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "common/crypto/secret_bytes.h"

namespace penstock::crypto {

inline constexpr std::size_t ed25519_seed_size = 32;
using Ed25519PublicKey = std::array<std::byte, 32>;
using Ed25519Signature = std::array<std::byte, 64>;

/// A signing key (RFC 8032), as receipts are signed by; wiped on destruction. Threads: const members from any.
class Ed25519SigningKey {
 public:
  [[nodiscard]] static Ed25519SigningKey generate();
  /// The seed is all there is to store.
  [[nodiscard]] static Ed25519SigningKey from_seed(std::span<const std::byte, ed25519_seed_size> seed);
  [[nodiscard]] SecretArray<ed25519_seed_size> seed() const;
  [[nodiscard]] const Ed25519PublicKey& public_key() const { return public_key_; }
  [[nodiscard]] Ed25519Signature sign(std::span<const std::byte> message) const;

 private:
  Ed25519SigningKey() = default;
  SecretArray<64> secret_;  // libsodium's form: seed, then public key
  Ed25519PublicKey public_key_{};
};

/// False for a signature of any other length as well.
[[nodiscard]] bool ed25519_verify(const Ed25519PublicKey& key, std::span<const std::byte> message,
                                  std::span<const std::byte> signature);

}  // namespace penstock::crypto
