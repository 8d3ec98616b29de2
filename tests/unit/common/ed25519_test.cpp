#include "common/crypto/ed25519.h"

#include <doctest/doctest.h>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "tests/printers.h"

namespace penstock::crypto {
namespace {

TEST_CASE("ed25519: tests 1 and 2 of RFC 8032 section 7.1") {
  struct Case {
    const char* seed;
    const char* public_key;
    const char* message;
    const char* signature;
  };
  const Case cases[] = {
      {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd2"
       "5bf5f0595bbe24655141438e7a100b"},
      {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
       "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c38"
       "7b2eaeb4302aeeb00d291612bb0c00"}};
  for (const Case& c : cases) {
    const auto seed = *bytes::from_hex(c.seed);
    const auto key = Ed25519SigningKey::from_seed(std::span<const std::byte, ed25519_seed_size>{seed});
    CHECK(bytes::to_hex(key.public_key()) == c.public_key);
    CHECK(bytes::to_hex(key.sign(*bytes::from_hex(c.message))) == c.signature);
  }
}

TEST_CASE("ed25519: a signature verifies for its message and key alone, and the seed is all there is to store") {
  const auto key = Ed25519SigningKey::generate();
  const auto message = bytes::as_bytes("receipt");
  const auto signature = key.sign(message);
  CHECK(ed25519_verify(key.public_key(), message, signature));
  CHECK_FALSE(ed25519_verify(key.public_key(), bytes::as_bytes("receipx"), signature));
  CHECK_FALSE(ed25519_verify(Ed25519SigningKey::generate().public_key(), message, signature));
  CHECK_FALSE(ed25519_verify(key.public_key(), message, std::span{signature}.first(63)));
  for (std::size_t i = 0; i < signature.size(); ++i) {
    auto damaged = signature;
    damaged[i] ^= std::byte{1};
    CHECK_FALSE(ed25519_verify(key.public_key(), message, damaged));
  }
  const auto again = Ed25519SigningKey::from_seed(key.seed().view());
  CHECK(again.public_key() == key.public_key());
  CHECK(again.sign(message) == signature);
}

}  // namespace
}  // namespace penstock::crypto
