#include "common/digest/sha256.h"

#include <openssl/evp.h>

#include "common/check.h"

namespace penstock::digest {
namespace {

const EVP_MD* algorithm() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);  // once: a fetch takes locks
  PENSTOCK_CHECK(fetched != nullptr);
  return fetched;
}

}  // namespace

Sha256 sha256(std::span<const std::byte> data) {
  Sha256 out;
  unsigned int size = 0;
  PENSTOCK_CHECK(EVP_Digest(data.data(), data.size(), reinterpret_cast<unsigned char*>(out.bytes.data()), &size,
                            algorithm(), nullptr) == 1);
  PENSTOCK_CHECK(size == out.bytes.size());
  return out;
}

void Sha256Hasher::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Sha256Hasher::Sha256Hasher() : context_(EVP_MD_CTX_new()), scratch_(EVP_MD_CTX_new()) {
  PENSTOCK_CHECK(context_ != nullptr && scratch_ != nullptr);
  reset();
}

void Sha256Hasher::update(std::span<const std::byte> data) {
  PENSTOCK_CHECK(EVP_DigestUpdate(context_.get(), data.data(), data.size()) == 1);
}

Sha256 Sha256Hasher::digest() const {
  Sha256 out;
  unsigned int size = 0;
  PENSTOCK_CHECK(EVP_MD_CTX_copy_ex(scratch_.get(), context_.get()) == 1);
  PENSTOCK_CHECK(EVP_DigestFinal_ex(scratch_.get(), reinterpret_cast<unsigned char*>(out.bytes.data()), &size) == 1);
  PENSTOCK_CHECK(size == out.bytes.size());
  return out;
}

void Sha256Hasher::reset() { PENSTOCK_CHECK(EVP_DigestInit_ex(context_.get(), algorithm(), nullptr) == 1); }

}  // namespace penstock::digest
