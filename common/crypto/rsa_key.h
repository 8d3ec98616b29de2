#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/crypto/secret_bytes.h"
#include "common/result.h"

extern "C" {
typedef struct evp_pkey_st EVP_PKEY;  // OpenSSL's, opaque here
}

namespace penstock::crypto {

// Specification: which RSA keys either end accepts (PROTOCOL section 1, enrolment).
inline constexpr int rsa_bits_min = 3072;
inline constexpr int rsa_bits_max = 4096;
inline constexpr std::size_t spki_size_max = 1024;  // a 4096-bit key's DER takes 550 bytes

/// SHA-256 of a key's DER SubjectPublicKeyInfo: what a pin, a token and a registration name a key by.
using Pin = std::array<std::byte, 32>;

struct PkeyFree {
  void operator()(EVP_PKEY* key) const;
};
using PkeyHandle = std::unique_ptr<EVP_PKEY, PkeyFree>;

/// How closely a public key is looked at.
enum class KeyChecks {
  /// The acceptance rule: RSA, 3072-4096 bits, e = 65537, EVP_PKEY_public_check. About 50 ms of CPU for 3072 bits, most
  /// of
  /// it a search for small factors and a test that the modulus is no prime: once, before a stranger's key is
  /// registered.
  all,
  /// All but EVP_PKEY_public_check: for a key that passed it before, and for one that can harm nobody but its owner.
  shape,
};

/// An acceptable public key. Immutable; copies share it. Threads: any, but never a worker's (see KeyChecks).
class RsaPublicKey {
 public:
  /// From a peer's DER SubjectPublicKeyInfo. nullopt for anything but exactly one acceptable key in canonical DER with
  /// nothing left over.
  [[nodiscard]] static std::optional<RsaPublicKey> from_spki(std::span<const std::byte> der, KeyChecks checks);
  /// The public half of any key, when acceptable; for keys that OpenSSL has parsed. Borrowed only for the call.
  [[nodiscard]] static std::optional<RsaPublicKey> from_native(EVP_PKEY* key, KeyChecks checks);

  /// Of an acceptable shape, with a random odd number for its modulus: what is wrapped under it nobody unwraps. At
  /// once, where a key with a private half takes a second.
  [[nodiscard]] static RsaPublicKey make_decoy();

  /// DER SubjectPublicKeyInfo.
  [[nodiscard]] std::span<const std::byte> spki() const { return state_->spki; }
  [[nodiscard]] const Pin& pin() const { return state_->pin; }
  [[nodiscard]] int bits() const;
  /// RSA-PSS, SHA-256, MGF1-SHA-256, salt of 32 bytes.
  [[nodiscard]] bool verify_pss(std::span<const std::byte> message, std::span<const std::byte> signature) const;
  /// Borrowed; lives as long as this key.
  [[nodiscard]] EVP_PKEY* native() const { return state_->key.get(); }

  bool operator==(const RsaPublicKey& other) const { return pin() == other.pin(); }

 private:
  struct State {
    PkeyHandle key;
    std::vector<std::byte> spki;
    Pin pin;
  };
  explicit RsaPublicKey(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

/// An RSA private key; OpenSSL wipes it when freed. Not copyable. Threads: const members from any.
class RsaPrivateKey {
 public:
  /// A fresh RSA-3072 key (takes 0.1 to 1 s).
  [[nodiscard]] static RsaPrivateKey generate();
  /// From PEM, without a passphrase; CONFIG_INVALID when it is not an RSA key of acceptable shape whose signatures its
  /// public half verifies.
  [[nodiscard]] static Result<RsaPrivateKey> from_pem(std::span<const std::byte> pem);
  /// PKCS#8 PEM.
  [[nodiscard]] SecretBytes to_pem() const;

  /// Reads a regular file of at most 64 KiB.
  [[nodiscard]] static Result<RsaPrivateKey> load(const std::string& path);
  /// Writes a new file, mode 0600, and syncs it; never replaces one (FILE_EXISTS).
  [[nodiscard]] Status save(const std::string& path) const;

  [[nodiscard]] const RsaPublicKey& public_key() const { return public_key_; }
  /// See RsaPublicKey::verify_pss.
  [[nodiscard]] std::vector<std::byte> sign_pss(std::span<const std::byte> message) const;
  /// Borrowed, for the TLS context; lives as long as this key (OpenSSL takes its own reference).
  [[nodiscard]] EVP_PKEY* native() const { return key_.get(); }

 private:
  RsaPrivateKey(PkeyHandle key, RsaPublicKey public_key) : key_(std::move(key)), public_key_(std::move(public_key)) {}
  PkeyHandle key_;
  RsaPublicKey public_key_;
};

/// A public key's pin from any SubjectPublicKeyInfo, acceptable or not.
[[nodiscard]] Pin spki_pin(std::span<const std::byte> der);

}  // namespace penstock::crypto
