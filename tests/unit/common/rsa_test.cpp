#include <doctest/doctest.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <vector>

#include "common/bytes/view.h"
#include "common/crypto/rsa_wrap.h"
#include "tests/printers.h"
#include "tests/temp_dir.h"

namespace penstock::crypto {
namespace {

// One key for the file: generating takes a large part of a second.
const RsaPrivateKey& key() {
  static const RsaPrivateKey made = RsaPrivateKey::generate();
  return made;
}
const RsaPrivateKey& other_key() {
  static const RsaPrivateKey made = RsaPrivateKey::generate();
  return made;
}

SecretArray<session_key_size> session_key() {
  SecretArray<session_key_size> k;
  for (std::size_t i = 0; i < k.size(); ++i) k.writable()[i] = static_cast<std::byte>(i);
  return k;
}

std::vector<std::byte> spki_of(EVP_PKEY* pkey) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(pkey, &der);
  REQUIRE(size > 0);
  std::vector<std::byte> out(static_cast<std::size_t>(size));
  std::copy_n(reinterpret_cast<const std::byte*>(der), out.size(), out.begin());
  OPENSSL_free(der);
  return out;
}

PkeyHandle rsa_with(int bits, unsigned long exponent) {
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr);
  BIGNUM* e = BN_new();
  BN_set_word(e, exponent);
  EVP_PKEY* made = nullptr;
  REQUIRE(EVP_PKEY_keygen_init(context) == 1);
  REQUIRE(EVP_PKEY_CTX_set_rsa_keygen_bits(context, bits) == 1);
  REQUIRE(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(context, e) == 1);
  REQUIRE(EVP_PKEY_generate(context, &made) == 1);
  BN_free(e);
  EVP_PKEY_CTX_free(context);
  return PkeyHandle{made};
}

TEST_CASE("rsa wrap: the right key and label give K back, and each wrap looks different") {
  const auto label = bytes::as_bytes("connection one");
  const auto wrapped = rsa_wrap(key().public_key(), label, session_key());
  CHECK(wrapped.size() == 384);
  const auto opened = rsa_unwrap(key(), label, wrapped);
  REQUIRE(opened.has_value());
  CHECK(*opened == session_key());
  CHECK(rsa_wrap(key().public_key(), label, session_key()) != wrapped);
  CHECK(rsa_unwrap(key(), {}, rsa_wrap(key().public_key(), {}, session_key())).has_value());
}

TEST_CASE("rsa wrap: another connection's label, another key, any damage and any other size do not unwrap") {
  const auto label = bytes::as_bytes("connection one");
  const auto wrapped = rsa_wrap(key().public_key(), label, session_key());
  CHECK_FALSE(rsa_unwrap(key(), bytes::as_bytes("connection two"), wrapped).has_value());
  CHECK_FALSE(rsa_unwrap(key(), {}, wrapped).has_value());
  CHECK_FALSE(rsa_unwrap(other_key(), label, wrapped).has_value());
  CHECK_FALSE(rsa_unwrap(key(), label, {}).has_value());
  CHECK_FALSE(rsa_unwrap(key(), label, std::span{wrapped}.first(383)).has_value());
  auto longer = wrapped;
  longer.push_back(std::byte{0});
  CHECK_FALSE(rsa_unwrap(key(), label, longer).has_value());
  for (const std::size_t at : {0UL, 1UL, 200UL, 383UL}) {
    auto damaged = wrapped;
    damaged[at] ^= std::byte{1};
    CHECK_FALSE(rsa_unwrap(key(), label, damaged).has_value());
  }
  CHECK_FALSE(rsa_unwrap(key(), label, std::vector<std::byte>(384, std::byte{0xff})).has_value());
}

TEST_CASE("rsa wrap: a blob that holds anything but 32 bytes does not unwrap") {
  for (const std::size_t size : {0UL, 31UL, 33UL}) {
    EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_pkey(nullptr, key().public_key().native(), nullptr);
    REQUIRE(EVP_PKEY_encrypt_init(context) == 1);
    REQUIRE(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1);
    REQUIRE(EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) == 1);
    REQUIRE(EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) == 1);
    const std::array<unsigned char, 33> plain{};
    std::vector<std::byte> wrapped(384);
    std::size_t wrapped_size = wrapped.size();
    REQUIRE(EVP_PKEY_encrypt(context, reinterpret_cast<unsigned char*>(wrapped.data()), &wrapped_size, plain.data(),
                             size) == 1);
    EVP_PKEY_CTX_free(context);
    CHECK_FALSE(rsa_unwrap(key(), {}, wrapped).has_value());
  }
}

TEST_CASE("rsa key: a public key survives its SPKI, and its pin is SHA-256 of that") {
  const RsaPublicKey& ours = key().public_key();
  CHECK(ours.bits() == 3072);
  const auto back = RsaPublicKey::from_spki(ours.spki(), KeyChecks::all);
  REQUIRE(back.has_value());
  CHECK(*back == ours);
  CHECK(back->pin() == spki_pin(ours.spki()));
  CHECK_FALSE(*back == other_key().public_key());
}

TEST_CASE("rsa key: a decoy wraps as a key of ours does, each is another, and none of ours unwraps what it wrapped") {
  const auto decoy = RsaPublicKey::make_decoy();
  CHECK(decoy.bits() == key().public_key().bits());
  CHECK(decoy.spki().size() == key().public_key().spki().size());
  CHECK(RsaPublicKey::from_spki(decoy.spki(), KeyChecks::shape) == decoy);
  CHECK_FALSE(decoy == RsaPublicKey::make_decoy());
  const auto wrapped = rsa_wrap(decoy, {}, session_key());
  CHECK(wrapped.size() == 384);
  CHECK_FALSE(rsa_unwrap(key(), {}, wrapped).has_value());
}

TEST_CASE("rsa key: only RSA of 3072 to 4096 bits with exponent 65537 is accepted") {
  CHECK_FALSE(RsaPublicKey::from_spki(spki_of(rsa_with(2048, 65537).get()), KeyChecks::all).has_value());
  CHECK_FALSE(RsaPublicKey::from_spki(spki_of(rsa_with(3064, 65537).get()), KeyChecks::all).has_value());
  CHECK_FALSE(RsaPublicKey::from_spki(spki_of(rsa_with(3072, 3).get()), KeyChecks::all).has_value());
  CHECK_FALSE(RsaPublicKey::from_spki(spki_of(rsa_with(3072, 65539).get()), KeyChecks::all).has_value());
  CHECK(RsaPublicKey::from_spki(spki_of(rsa_with(3080, 65537).get()), KeyChecks::all).has_value());
  const PkeyHandle curve{EVP_EC_gen("P-256")};
  CHECK_FALSE(RsaPublicKey::from_spki(spki_of(curve.get()), KeyChecks::all).has_value());
  CHECK_FALSE(RsaPublicKey::from_native(curve.get(), KeyChecks::all).has_value());
  CHECK_FALSE(RsaPublicKey::from_native(nullptr, KeyChecks::all).has_value());
}

TEST_CASE("rsa key: truncated, lengthened and altered encodings are refused") {
  const auto spki = key().public_key().spki();
  for (std::size_t size = 0; size < spki.size(); ++size)
    REQUIRE_FALSE(RsaPublicKey::from_spki(spki.first(size), KeyChecks::all).has_value());
  std::vector<std::byte> longer(spki.begin(), spki.end());
  longer.push_back(std::byte{0});
  CHECK_FALSE(RsaPublicKey::from_spki(longer, KeyChecks::all).has_value());
  CHECK_FALSE(RsaPublicKey::from_spki(std::vector<std::byte>(100'000), KeyChecks::all).has_value());
  // BER lets a length be longer than needed; the same key in such a form would have a second pin.
  REQUIRE(spki[1] == std::byte{0x82});
  std::vector<std::byte> second_form{spki[0], std::byte{0x83}, std::byte{0}};
  second_form.insert(second_form.end(), spki.begin() + 2, spki.end());
  CHECK_FALSE(RsaPublicKey::from_spki(second_form, KeyChecks::all).has_value());
  // The modulus made even: a multiple of two is no RSA modulus, which the public check finds. Its last byte stands
  // before the exponent's five (02 03 01 00 01).
  std::vector<std::byte> even(spki.begin(), spki.end());
  even[even.size() - 6] &= std::byte{0xfe};
  CHECK_FALSE(RsaPublicKey::from_spki(even, KeyChecks::all).has_value());
  CHECK(RsaPublicKey::from_spki(even, KeyChecks::shape).has_value());
}

TEST_CASE("rsa key: a PSS signature verifies for its message and key alone") {
  const auto message = bytes::as_bytes("receipt key");
  const auto signature = key().sign_pss(message);
  CHECK(key().public_key().verify_pss(message, signature));
  CHECK_FALSE(key().public_key().verify_pss(bytes::as_bytes("receipt kez"), signature));
  CHECK_FALSE(other_key().public_key().verify_pss(message, signature));
  CHECK_FALSE(key().public_key().verify_pss(message, std::span{signature}.first(383)));
  CHECK_FALSE(key().public_key().verify_pss(message, {}));
  auto damaged = signature;
  damaged[100] ^= std::byte{1};
  CHECK_FALSE(key().public_key().verify_pss(message, damaged));
}

TEST_CASE("rsa key: a saved key is private to its owner, loads again, and is never overwritten") {
  const tests::TempDir dir;
  const std::string path = dir.path() + "/identity.pem";
  REQUIRE(key().save(path).ok());
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
  const auto loaded = RsaPrivateKey::load(path);
  REQUIRE(loaded.ok());
  CHECK(loaded->public_key() == key().public_key());
  CHECK(rsa_unwrap(*loaded, {}, rsa_wrap(key().public_key(), {}, session_key())).has_value());

  const Status again = other_key().save(path);
  REQUIRE_FALSE(again.ok());
  CHECK(again.error().code == ErrorCode::FILE_EXISTS);
  CHECK(RsaPrivateKey::load(path)->public_key() == key().public_key());
}

TEST_CASE("rsa key: a private key that is damaged inside is refused, not used to sign") {
  const SecretBytes pem = key().to_pem();
  std::size_t refused = 0;
  std::size_t tried = 0;
  // One base64 digit in each part: version, modulus, exponents, primes and the CRT's numbers.
  for (std::size_t at = 60; at + 60 < pem.size(); at += 97) {
    std::string damaged{bytes::as_text(pem.view())};
    if (damaged[at] == '\n') continue;
    damaged[at] = damaged[at] == 'A' ? 'B' : 'A';
    const auto loaded = RsaPrivateKey::from_pem(bytes::as_bytes(damaged));
    ++tried;
    // What loads nevertheless is still the same key: OpenSSL does not use every byte of it to sign.
    if (!loaded)
      ++refused;
    else
      CHECK(loaded->public_key().verify_pss(pem.view(), loaded->sign_pss(pem.view())));
  }
  CHECK(tried > 20);
  CHECK(refused > tried / 5);
}

TEST_CASE("rsa key: what is no acceptable private key is refused with the file's name") {
  const tests::TempDir dir;
  const auto refused = [&](std::string_view content) {
    const std::string path = dir.write("key.pem", content);
    const auto loaded = RsaPrivateKey::load(path);
    return !loaded.ok() && loaded.error().code == ErrorCode::CONFIG_INVALID && loaded.error().path == path &&
           loaded.error().message.find("key.pem") != std::string::npos;
  };
  CHECK(refused(""));
  CHECK(refused("not a key"));
  const SecretBytes pem = key().to_pem();
  CHECK(refused(bytes::as_text(pem.view()).substr(0, 1000)));
  CHECK(refused(std::string(100'000, 'x')));
  const auto missing = RsaPrivateKey::load(dir.path() + "/missing.pem");
  CHECK(missing.error().code == ErrorCode::NOT_FOUND);
  const auto directory = RsaPrivateKey::load(dir.path());
  CHECK(directory.error().code == ErrorCode::CONFIG_INVALID);
}

}  // namespace
}  // namespace penstock::crypto
