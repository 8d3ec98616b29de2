#include <doctest/doctest.h>

#include <string>

#include "common/bytes/base64.h"
#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/crypto/rsa_wrap.h"
#include "tests/printers.h"
#include "tests/vectors/vector_file.h"

namespace penstock::crypto {
namespace {

RsaPrivateKey key_from_der(std::span<const std::byte> der) {
  std::string pem = "-----BEGIN PRIVATE KEY-----\n";
  const std::string body = bytes::to_base64(der);
  for (std::size_t at = 0; at < body.size(); at += 64) pem += body.substr(at, 64) + '\n';
  pem += "-----END PRIVATE KEY-----\n";
  auto key = RsaPrivateKey::from_pem(bytes::as_bytes(pem));
  REQUIRE(key.ok());
  return std::move(*key);
}

TEST_CASE("rsa vectors: what another implementation wrapped and signed is taken, its near misses are not") {
  const auto record = tests::read_vector_file("rsa.txt").at(0);
  const RsaPrivateKey key = key_from_der(record.bytes("private_key_pkcs8"));
  CHECK(bytes::to_hex(key.public_key().spki()) == record.text("spki"));
  CHECK(bytes::to_hex(key.public_key().pin()) == record.text("pin"));

  const auto label = record.bytes("label");
  const auto unwrapped = rsa_unwrap(key, label, record.bytes("wrapped"));
  REQUIRE(unwrapped.has_value());
  CHECK(bytes::to_hex(unwrapped->view()) == record.text("k"));
  CHECK_FALSE(rsa_unwrap(key, label, record.bytes("wrapped_mgf1_sha1")).has_value());

  const auto message = record.bytes("message");
  CHECK(key.public_key().verify_pss(message, record.bytes("signature")));
  CHECK_FALSE(key.public_key().verify_pss(message, record.bytes("signature_salt_20")));
}

}  // namespace
}  // namespace penstock::crypto
