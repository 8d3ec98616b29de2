#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace penstock::control {

/// Owners of OpenSSL objects.
struct OpensslDeleter {
  void operator()(BIO* p) const { BIO_free_all(p); }
  void operator()(BIGNUM* p) const { BN_clear_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(EVP_PKEY_CTX* p) const { EVP_PKEY_CTX_free(p); }
  void operator()(EVP_MD_CTX* p) const { EVP_MD_CTX_free(p); }
  void operator()(SSL* p) const { SSL_free(p); }
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(X509_STORE* p) const { X509_STORE_free(p); }
  void operator()(X509_STORE_CTX* p) const { X509_STORE_CTX_free(p); }
};
template <class T>
using OpensslHandle = std::unique_ptr<T, OpensslDeleter>;
using BioHandle = OpensslHandle<BIO>;
using EvpKeyHandle = OpensslHandle<EVP_PKEY>;
using SslHandle = OpensslHandle<SSL>;
using SslContextHandle = OpensslHandle<SSL_CTX>;
using X509Handle = OpensslHandle<X509>;

/// The oldest error of this thread's queue as text, "unknown reason" when there is none; empties the queue.
std::string take_openssl_error();
/// SubjectPublicKeyInfo in DER of a certificate's key, of any kind; empty when it can not be had.
std::vector<std::byte> spki_of(const X509* certificate);

}  // namespace penstock::control
