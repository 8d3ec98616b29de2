#include <doctest/doctest.h>

#include <algorithm>

#include "common/crypto/aead.h"
#include "tests/printers.h"
#include "tests/vectors/vector_file.h"

namespace penstock::crypto {
namespace {

TEST_CASE("aead vectors: every backend gives the published ciphertexts and tags, and opens them") {
  int checked = 0;
  for (const auto& record : tests::read_vector_file("aead.txt")) {
    const auto key_bytes = record.bytes("key");
    const auto nonce_bytes = record.bytes("nonce");
    const auto aad = record.bytes("aad");
    const auto plaintext = record.bytes("plaintext");
    const auto sealed = record.bytes("sealed");
    REQUIRE(key_bytes.size() == aead_key_size);
    REQUIRE(nonce_bytes.size() == aead_nonce_size);
    Nonce nonce;
    std::copy(nonce_bytes.begin(), nonce_bytes.end(), nonce.begin());

    for (const AeadBackend* backend : aead_backends()) {
      if (to_string(backend->algorithm()) != record.text("algorithm")) continue;
      CAPTURE(backend->name());
      CAPTURE(plaintext.size());
      const auto key = backend->make_key(std::span<const std::byte, aead_key_size>{key_bytes});
      std::vector<std::byte> out(plaintext.size() + aead_tag_size);
      key->seal(nonce, aad, plaintext, out.data());
      CHECK(out == sealed);
      std::vector<std::byte> opened(plaintext.size());
      CHECK(key->open(nonce, aad, sealed, opened.data()));
      CHECK(opened == plaintext);
      ++checked;
    }
  }
  CHECK(checked >= 4 + 2);  // OpenSSL's AES, and both ChaCha20s, exist on every machine
}

}  // namespace
}  // namespace penstock::crypto
