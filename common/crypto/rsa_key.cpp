#include "common/crypto/rsa_key.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/check.h"
#include "common/digest/sha256.h"
#include "common/escape.h"
#include "common/unique_fd.h"

namespace penstock::crypto {
namespace {

constexpr std::size_t pem_size_max = 64 * 1024;

template <auto Function>
struct FreeBy {
  template <class T>
  void operator()(T* object) const {
    Function(object);
  }
};
using BioHandle = std::unique_ptr<BIO, FreeBy<BIO_free_all>>;
using BignumHandle = std::unique_ptr<BIGNUM, FreeBy<BN_free>>;
using PkeyContext = std::unique_ptr<EVP_PKEY_CTX, FreeBy<EVP_PKEY_CTX_free>>;
using ParameterBuilder = std::unique_ptr<OSSL_PARAM_BLD, FreeBy<OSSL_PARAM_BLD_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, FreeBy<OSSL_PARAM_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeBy<EVP_MD_CTX_free>>;

const unsigned char* raw(const std::byte* data) { return reinterpret_cast<const unsigned char*>(data); }
unsigned char* raw(std::byte* data) { return reinterpret_cast<unsigned char*>(data); }

/// Peers cause OpenSSL errors at will; none may pile up in this thread's queue, where TLS code would find them.
struct ErrorQueueCleared {
  ~ErrorQueueCleared() { ERR_clear_error(); }
};

bool is_acceptable(EVP_PKEY* key, KeyChecks checks) {
  // RSA-PSS restricted keys are another type on purpose: OAEP does not work with them.
  if (key == nullptr || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) return false;
  const int bits = EVP_PKEY_get_bits(key);
  if (bits < rsa_bits_min || bits > rsa_bits_max) return false;
  BIGNUM* exponent_raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent_raw) != 1) return false;
  const BignumHandle exponent{exponent_raw};
  if (BN_is_word(exponent.get(), RSA_F4) != 1) return false;
  if (checks == KeyChecks::shape) return true;
  const PkeyContext context{EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr)};
  return context && EVP_PKEY_public_check(context.get()) == 1;
}

std::optional<std::vector<std::byte>> encode_spki(EVP_PKEY* key) {
  const int size = i2d_PUBKEY(key, nullptr);
  if (size <= 0) return std::nullopt;
  std::vector<std::byte> der(static_cast<std::size_t>(size));
  unsigned char* out = raw(der.data());
  if (i2d_PUBKEY(key, &out) != size) return std::nullopt;
  return der;
}

Error bad_key(std::string why) { return Error{.code = ErrorCode::CONFIG_INVALID, .message = std::move(why)}; }

/// Sets what RSA-PSS needs on either side; the salt has the digest's length.
bool set_pss(EVP_PKEY_CTX* context) {
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

/// Fails only for a key that is damaged.
std::optional<std::vector<std::byte>> try_sign_pss(EVP_PKEY* key, std::span<const std::byte> message) {
  const DigestContext context{EVP_MD_CTX_new()};
  PENSTOCK_CHECK(context != nullptr);
  EVP_PKEY_CTX* parameters = nullptr;  // owned by `context`
  std::size_t size = static_cast<std::size_t>(EVP_PKEY_get_size(key));
  std::vector<std::byte> signature(size);
  if (EVP_DigestSignInit(context.get(), &parameters, EVP_sha256(), nullptr, key) != 1 || !set_pss(parameters) ||
      EVP_DigestSign(context.get(), raw(signature.data()), &size, raw(message.data()), message.size()) != 1) {
    return std::nullopt;
  }
  signature.resize(size);
  return signature;
}

}  // namespace

void PkeyFree::operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }

Pin spki_pin(std::span<const std::byte> der) { return digest::sha256(der).bytes; }

std::optional<RsaPublicKey> RsaPublicKey::from_spki(std::span<const std::byte> der, KeyChecks checks) {
  const ErrorQueueCleared cleared;
  if (der.empty() || der.size() > spki_size_max) return std::nullopt;
  const unsigned char* at = raw(der.data());
  const PkeyHandle key{d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size()))};
  if (!key || at != raw(der.data()) + der.size()) return std::nullopt;
  auto accepted = from_native(key.get(), checks);
  // One key, one pin: a second encoding of the same key would be a second identity.
  if (!accepted || !std::equal(der.begin(), der.end(), accepted->spki().begin(), accepted->spki().end()))
    return std::nullopt;
  return accepted;
}

std::optional<RsaPublicKey> RsaPublicKey::from_native(EVP_PKEY* key, KeyChecks checks) {
  const ErrorQueueCleared cleared;
  if (!is_acceptable(key, checks)) return std::nullopt;
  auto der = encode_spki(key);
  if (!der) return std::nullopt;
  // Decoded again from its own public encoding, so that a private half never travels along.
  const unsigned char* at = raw(der->data());
  PkeyHandle public_half{d2i_PUBKEY(nullptr, &at, static_cast<long>(der->size()))};
  if (!public_half) return std::nullopt;
  const Pin pin = spki_pin(*der);
  return RsaPublicKey{
      std::make_shared<const State>(State{.key = std::move(public_half), .spki = std::move(*der), .pin = pin})};
}

RsaPublicKey RsaPublicKey::make_decoy() {
  const BignumHandle modulus{BN_new()};
  const BignumHandle exponent{BN_new()};
  const ParameterBuilder builder{OSSL_PARAM_BLD_new()};
  PENSTOCK_CHECK(modulus && exponent && builder);
  PENSTOCK_CHECK(BN_rand(modulus.get(), rsa_bits_min, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD) == 1 &&
                 BN_set_word(exponent.get(), RSA_F4) == 1 &&
                 OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) == 1 &&
                 OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) == 1);
  const Parameters parameters{OSSL_PARAM_BLD_to_param(builder.get())};
  const PkeyContext context{EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr)};
  EVP_PKEY* key = nullptr;
  PENSTOCK_CHECK(parameters && context && EVP_PKEY_fromdata_init(context.get()) == 1 &&
                 EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) == 1);
  const PkeyHandle made{key};
  auto decoy = from_native(made.get(), KeyChecks::shape);
  PENSTOCK_CHECK(decoy.has_value());
  return *std::move(decoy);
}

int RsaPublicKey::bits() const { return EVP_PKEY_get_bits(native()); }

bool RsaPublicKey::verify_pss(std::span<const std::byte> message, std::span<const std::byte> signature) const {
  const ErrorQueueCleared cleared;
  const DigestContext context{EVP_MD_CTX_new()};
  PENSTOCK_CHECK(context != nullptr);
  EVP_PKEY_CTX* parameters = nullptr;  // owned by `context`
  return EVP_DigestVerifyInit(context.get(), &parameters, EVP_sha256(), nullptr, native()) == 1 &&
         set_pss(parameters) &&
         EVP_DigestVerify(context.get(), raw(signature.data()), signature.size(), raw(message.data()),
                          message.size()) == 1;
}

RsaPrivateKey RsaPrivateKey::generate() {
  PkeyHandle key{EVP_RSA_gen(rsa_bits_min)};
  PENSTOCK_CHECK(key != nullptr);
  auto public_key = RsaPublicKey::from_native(key.get(), KeyChecks::shape);
  PENSTOCK_CHECK(public_key.has_value());
  return RsaPrivateKey{std::move(key), std::move(*public_key)};
}

Result<RsaPrivateKey> RsaPrivateKey::from_pem(std::span<const std::byte> pem) {
  const ErrorQueueCleared cleared;
  if (pem.size() > pem_size_max) return bad_key("the private key file is larger than any RSA key");
  const BioHandle bio{BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))};
  PENSTOCK_CHECK(bio != nullptr);
  // The callback refuses encrypted keys; without it OpenSSL would ask on the terminal of a daemon.
  const auto no_passphrase = [](char*, int, int, void*) { return -1; };
  PkeyHandle key{PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr)};
  if (!key) return bad_key("no private key in PEM form, without a passphrase, is found");
  auto public_key = RsaPublicKey::from_native(key.get(), KeyChecks::shape);
  if (!public_key) return bad_key("the private key must be RSA with 3072 to 4096 bits and exponent 65537");
  // A damaged file would otherwise sign rubbish, from which its secrets can be computed. EVP_PKEY_pairwise_check finds
  // out too, but tests primes for tens of milliseconds in each command.
  const std::array<std::byte, 32> message{};
  const auto signature = try_sign_pss(key.get(), message);
  if (!signature || !public_key->verify_pss(message, *signature))
    return bad_key("the private key is damaged: its public half does not verify what it signs");
  return RsaPrivateKey{std::move(key), std::move(*public_key)};
}

SecretBytes RsaPrivateKey::to_pem() const {
  const BioHandle bio{BIO_new(BIO_s_secmem())};  // its buffer is wiped when freed
  PENSTOCK_CHECK(bio != nullptr);
  PENSTOCK_CHECK(PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  PENSTOCK_CHECK(size > 0);
  return SecretBytes{std::as_bytes(std::span{data, static_cast<std::size_t>(size)})};
}

Result<RsaPrivateKey> RsaPrivateKey::load(const std::string& path) {
  constexpr std::string_view doing = "read the private key";
  const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a FIFO must not hold us up
  if (!fd) return error_from_errno(errno, doing, path);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return error_from_errno(errno, doing, path);
  if (!S_ISREG(status.st_mode)) {
    Error error = bad_key("the private key " + escape_for_display(path) + " is not a regular file");
    error.path = path;
    return error;
  }
  SecretBytes pem{pem_size_max + 1};
  std::size_t size = 0;
  while (size < pem.size()) {
    const ssize_t got = ::read(fd.get(), pem.writable().data() + size, pem.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error_from_errno(errno, doing, path);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  auto key = from_pem(pem.view().first(size));
  if (key) return key;
  Error error = std::move(key).error();
  error.message = escape_for_display(path) + ": " + error.message;
  error.path = path;
  return error;
}

Status RsaPrivateKey::save(const std::string& path) const {
  constexpr std::string_view doing = "write the private key";
  const UniqueFd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
  if (!fd) {
    Error error = error_from_errno(errno, doing, path);
    if (errno == EEXIST) error.code = ErrorCode::FILE_EXISTS;
    return error;
  }
  const auto give_up = [&](int reason) -> Status {
    ::unlink(path.c_str());  // ours, made a moment ago; half a key would only mislead
    return error_from_errno(reason, doing, path);
  };
  const SecretBytes pem = to_pem();
  auto rest = pem.view();
  while (!rest.empty()) {
    const ssize_t put = ::write(fd.get(), rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return give_up(errno);
    rest = rest.subspan(static_cast<std::size_t>(put));
  }
  if (::fsync(fd.get()) != 0) return give_up(errno);
  return {};
}

std::vector<std::byte> RsaPrivateKey::sign_pss(std::span<const std::byte> message) const {
  auto signature = try_sign_pss(key_.get(), message);
  PENSTOCK_CHECK(signature.has_value());  // the key has signed before, when it was loaded or made
  return std::move(*signature);
}

}  // namespace penstock::crypto
