#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "common/check.h"
#include "common/crypto/aead_backends.h"
#include "common/crypto/secret_bytes.h"

namespace penstock::crypto {
namespace {

struct ContextFree {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }  // wipes the expanded key
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, ContextFree>;

unsigned char* raw(std::byte* data) { return reinterpret_cast<unsigned char*>(data); }
const unsigned char* raw(const std::byte* data) { return reinterpret_cast<const unsigned char*>(data); }

int int_size(std::span<const std::byte> data) {
  PENSTOCK_CHECK(data.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()));
  return static_cast<int>(data.size());
}

class OpensslKey final : public AeadKey {
 public:
  // One context a direction: the key is expanded once, each packet sets the nonce alone.
  OpensslKey(const EVP_CIPHER* cipher, std::span<const std::byte, aead_key_size> key)
      : seal_(EVP_CIPHER_CTX_new()), open_(EVP_CIPHER_CTX_new()) {
    PENSTOCK_CHECK(seal_ && open_);
    PENSTOCK_CHECK(EVP_EncryptInit_ex(seal_.get(), cipher, nullptr, raw(key.data()), nullptr) == 1);
    PENSTOCK_CHECK(EVP_DecryptInit_ex(open_.get(), cipher, nullptr, raw(key.data()), nullptr) == 1);
    PENSTOCK_CHECK(EVP_CIPHER_CTX_get_iv_length(seal_.get()) == static_cast<int>(aead_nonce_size));
  }

  void seal(const Nonce& nonce, std::span<const std::byte> aad, std::span<const std::byte> plaintext,
            std::byte* out) override {
    EVP_CIPHER_CTX* const c = seal_.get();
    int size = 0;
    PENSTOCK_CHECK(EVP_EncryptInit_ex(c, nullptr, nullptr, nullptr, raw(nonce.data())) == 1);
    if (!aad.empty()) PENSTOCK_CHECK(EVP_EncryptUpdate(c, nullptr, &size, raw(aad.data()), int_size(aad)) == 1);
    if (!plaintext.empty())
      PENSTOCK_CHECK(EVP_EncryptUpdate(c, raw(out), &size, raw(plaintext.data()), int_size(plaintext)) == 1);
    std::byte* const tag = out + plaintext.size();
    PENSTOCK_CHECK(EVP_EncryptFinal_ex(c, raw(tag), &size) == 1);
    PENSTOCK_CHECK(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(aead_tag_size), tag) == 1);
  }

  bool open(const Nonce& nonce, std::span<const std::byte> aad, std::span<const std::byte> sealed,
            std::byte* out) override {
    if (sealed.size() < aead_tag_size) return false;
    const auto ciphertext = sealed.first(sealed.size() - aead_tag_size);
    EVP_CIPHER_CTX* const c = open_.get();
    int size = 0;
    std::array<std::byte, aead_tag_size> tag;
    std::copy_n(sealed.data() + ciphertext.size(), aead_tag_size, tag.begin());  // ctrl wants it writable
    PENSTOCK_CHECK(EVP_DecryptInit_ex(c, nullptr, nullptr, nullptr, raw(nonce.data())) == 1);
    if (!aad.empty()) PENSTOCK_CHECK(EVP_DecryptUpdate(c, nullptr, &size, raw(aad.data()), int_size(aad)) == 1);
    if (!ciphertext.empty())
      PENSTOCK_CHECK(EVP_DecryptUpdate(c, raw(out), &size, raw(ciphertext.data()), int_size(ciphertext)) == 1);
    PENSTOCK_CHECK(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(aead_tag_size), tag.data()) == 1);
    std::array<unsigned char, aead_tag_size> nothing;  // an AEAD's final step writes no bytes
    if (EVP_DecryptFinal_ex(c, nothing.data(), &size) == 1) return true;
    wipe({out, ciphertext.size()});
    return false;
  }

 private:
  Context seal_;
  Context open_;
};

class OpensslBackend final : public AeadBackend {
 public:
  OpensslBackend(std::string_view name, AeadAlgorithm algorithm, const char* cipher)
      : name_(name), algorithm_(algorithm), cipher_(EVP_CIPHER_fetch(nullptr, cipher, nullptr)) {
    PENSTOCK_CHECK(cipher_ != nullptr);
  }
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] AeadAlgorithm algorithm() const override { return algorithm_; }
  [[nodiscard]] std::unique_ptr<AeadKey> make_key(std::span<const std::byte, aead_key_size> key) const override {
    return std::make_unique<OpensslKey>(cipher_, key);
  }

 private:
  std::string_view name_;
  AeadAlgorithm algorithm_;
  EVP_CIPHER* cipher_;  // for the whole process
};

}  // namespace

const AeadBackend& openssl_aes_backend() {
  static const auto* const backend = new OpensslBackend("openssl", AeadAlgorithm::aes_256_gcm, "AES-256-GCM");
  return *backend;
}

const AeadBackend& openssl_chacha_backend() {
  static const auto* const backend =
      new OpensslBackend("openssl-chacha20", AeadAlgorithm::chacha20_poly1305, "ChaCha20-Poly1305");
  return *backend;
}

}  // namespace penstock::crypto
