#include <sodium.h>

#include <memory>

#include "common/check.h"
#include "common/crypto/aead_backends.h"
#include "common/crypto/secret_bytes.h"

namespace penstock::crypto {
namespace {

static_assert(aead_key_size == crypto_aead_chacha20poly1305_ietf_KEYBYTES);
static_assert(aead_nonce_size == crypto_aead_chacha20poly1305_ietf_NPUBBYTES);
static_assert(aead_tag_size == crypto_aead_chacha20poly1305_ietf_ABYTES);

unsigned char* raw(std::byte* data) { return reinterpret_cast<unsigned char*>(data); }
const unsigned char* raw(const std::byte* data) { return reinterpret_cast<const unsigned char*>(data); }

class SodiumKey final : public AeadKey {
 public:
  explicit SodiumKey(std::span<const std::byte, aead_key_size> key) : key_(key) {}

  void seal(const Nonce& nonce, std::span<const std::byte> aad, std::span<const std::byte> plaintext,
            std::byte* out) override {
    PENSTOCK_CHECK(crypto_aead_chacha20poly1305_ietf_encrypt_detached(
                       raw(out), raw(out + plaintext.size()), nullptr, raw(plaintext.data()), plaintext.size(),
                       raw(aad.data()), aad.size(), nullptr, raw(nonce.data()), raw(key_.view().data())) == 0);
  }

  bool open(const Nonce& nonce, std::span<const std::byte> aad, std::span<const std::byte> sealed,
            std::byte* out) override {
    if (sealed.size() < aead_tag_size) return false;
    const auto ciphertext = sealed.first(sealed.size() - aead_tag_size);
    // Verifies before it decrypts, and zeroes `out` on failure.
    return crypto_aead_chacha20poly1305_ietf_decrypt_detached(
               raw(out), nullptr, raw(ciphertext.data()), ciphertext.size(), raw(sealed.data() + ciphertext.size()),
               raw(aad.data()), aad.size(), raw(nonce.data()), raw(key_.view().data())) == 0;
  }

 private:
  SecretArray<aead_key_size> key_;
};

class SodiumBackend final : public AeadBackend {
 public:
  SodiumBackend() { PENSTOCK_CHECK(sodium_init() >= 0); }  // picks the implementation for this CPU
  [[nodiscard]] std::string_view name() const override { return "libsodium"; }
  [[nodiscard]] AeadAlgorithm algorithm() const override { return AeadAlgorithm::chacha20_poly1305; }
  [[nodiscard]] std::unique_ptr<AeadKey> make_key(std::span<const std::byte, aead_key_size> key) const override {
    return std::make_unique<SodiumKey>(key);
  }
};

}  // namespace

const AeadBackend& libsodium_backend() {
  static const auto* const backend = new SodiumBackend;
  return *backend;
}

}  // namespace penstock::crypto
