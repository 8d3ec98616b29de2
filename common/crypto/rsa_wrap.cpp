#include "common/crypto/rsa_wrap.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <memory>

#include "common/check.h"

namespace penstock::crypto {
namespace {

struct ContextFree {
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_PKEY_CTX, ContextFree>;

const unsigned char* raw(const std::byte* data) { return reinterpret_cast<const unsigned char*>(data); }
unsigned char* raw(std::byte* data) { return reinterpret_cast<unsigned char*>(data); }

enum class Use { wrap, unwrap };

Context oaep_context(EVP_PKEY* key, Use use, std::span<const std::byte> label) {
  Context context{EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr)};
  PENSTOCK_CHECK(context != nullptr);
  EVP_PKEY_CTX* const c = context.get();
  PENSTOCK_CHECK((use == Use::wrap ? EVP_PKEY_encrypt_init(c) : EVP_PKEY_decrypt_init(c)) == 1);
  PENSTOCK_CHECK(EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING) == 1);
  PENSTOCK_CHECK(EVP_PKEY_CTX_set_rsa_oaep_md(c, EVP_sha256()) == 1);
  PENSTOCK_CHECK(EVP_PKEY_CTX_set_rsa_mgf1_md(c, EVP_sha256()) == 1);
  if (!label.empty()) {
    void* owned = OPENSSL_memdup(label.data(), label.size());  // the context frees it
    PENSTOCK_CHECK(owned != nullptr);
    PENSTOCK_CHECK(EVP_PKEY_CTX_set0_rsa_oaep_label(c, owned, static_cast<int>(label.size())) == 1);
  }
  return context;
}

}  // namespace

std::vector<std::byte> rsa_wrap(const RsaPublicKey& to, std::span<const std::byte> label,
                                const SecretArray<session_key_size>& session_key) {
  const Context context = oaep_context(to.native(), Use::wrap, label);
  auto size = static_cast<std::size_t>(EVP_PKEY_get_size(to.native()));
  std::vector<std::byte> wrapped(size);
  PENSTOCK_CHECK(EVP_PKEY_encrypt(context.get(), raw(wrapped.data()), &size, raw(session_key.view().data()),
                                  session_key.size()) == 1);
  wrapped.resize(size);
  return wrapped;
}

std::optional<SecretArray<session_key_size>> rsa_unwrap(const RsaPrivateKey& with, std::span<const std::byte> label,
                                                        std::span<const std::byte> wrapped) {
  const Context context = oaep_context(with.native(), Use::unwrap, label);
  SecretBytes plain{static_cast<std::size_t>(EVP_PKEY_get_size(with.native()))};  // OpenSSL wants room for any padding
  std::size_t size = plain.size();
  const int opened =
      EVP_PKEY_decrypt(context.get(), raw(plain.writable().data()), &size, raw(wrapped.data()), wrapped.size());
  ERR_clear_error();  // the reason is nobody's business, nor may TLS code find it in this thread's queue
  if (opened != 1 || size != session_key_size) return std::nullopt;
  return SecretArray<session_key_size>{plain.view().first<session_key_size>()};
}

}  // namespace penstock::crypto
