#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "common/crypto/ed25519.h"
#include "common/crypto/rsa_key.h"
#include "common/result.h"
#include "control/gate/openssl_handles.h"
#include "control/gate/pin.h"

namespace penstock::control {

/// Who this daemon is: its RSA key and certificate chain. Immutable; cheap to move.
/// Threads: const members may be called from any thread.
class Identity {
 public:
  /// `state_directory`/identity.key and identity.crt; when neither exists a fresh RSA-3072 key and a self-signed
  /// certificate are made there, the key 0600, each file appearing whole or not at all (the key first: a lost
  /// certificate is made again from it). Safe beside a second process that does the same. As root the files belong to
  /// the directory's owner. Takes up to 1 s when it makes the key.
  /// Errors: CONFIG_INVALID naming the file that can not be used; IO_ERROR when it can not be written.
  static Result<Identity> load_or_create(const std::filesystem::path& state_directory);
  /// The operator's own PEM files; `certificate` may hold a chain, leaf first. The key must be RSA of 3072 to 4096 bits
  /// with e = 65537. Errors: CONFIG_INVALID naming the file.
  static Result<Identity> load(const std::filesystem::path& certificate, const std::filesystem::path& key);

  [[nodiscard]] const crypto::RsaPrivateKey& key() const { return key_; }
  [[nodiscard]] std::span<const X509Handle> chain() const { return chain_; }  // leaf first, never empty
  [[nodiscard]] Pin pin() const { return Pin{key_.public_key().pin()}; }
  [[nodiscard]] std::span<const std::byte> spki() const { return key_.public_key().spki(); }

 private:
  Identity(crypto::RsaPrivateKey key, std::vector<X509Handle> chain) : key_(std::move(key)), chain_(std::move(chain)) {}
  crypto::RsaPrivateKey key_;
  std::vector<X509Handle> chain_;
};

/// The Ed25519 key that signs receipts, certified by the identity key so that a receipt can be traced to the pin.
/// Threads: const members may be called from any thread.
class ReceiptKey {
 public:
  /// `state_directory`/receipt.key (0600: the seed in hex), made at first start as the identity is.
  static Result<ReceiptKey> load_or_create(const std::filesystem::path& state_directory, const Identity& identity);
  /// From a key at hand, for tests and for stores of another kind.
  ReceiptKey(crypto::Ed25519SigningKey key, const Identity& identity);

  [[nodiscard]] const crypto::Ed25519SigningKey& key() const { return key_; }
  [[nodiscard]] const crypto::Ed25519PublicKey& public_key() const { return key_.public_key(); }
  /// The identity's RSA-PSS signature over "penstock/1 receipt key" 0x00 and the public key.
  [[nodiscard]] const std::vector<std::byte>& certification() const { return certification_; }

 private:
  crypto::Ed25519SigningKey key_;
  std::vector<std::byte> certification_;
};

/// Does the daemon key (its SubjectPublicKeyInfo in DER) certify this receipt key?
bool verify_receipt_key(std::span<const std::byte> daemon_spki, const crypto::Ed25519PublicKey& key,
                        std::span<const std::byte> certification);

}  // namespace penstock::control
