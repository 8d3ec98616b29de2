#pragma once

#include <doctest/doctest.h>

#include <memory>

#include "common/crypto/random.h"
#include "common/crypto/rsa_key.h"
#include "control/gate/identity.h"
#include "control/gate/token.h"
#include "control/registry/sqlite_registry.h"
#include "tests/printers.h"
#include "tests/temp_dir.h"

namespace penstock::control::test {

inline constexpr UnixSeconds noon{1'700'000'000};

/// RSA keys cost 0.1 to 1 s each: made once for a whole run.
inline const crypto::RsaPrivateKey& client_key() {
  static const auto key = crypto::RsaPrivateKey::generate();
  return key;
}
inline const crypto::RsaPrivateKey& other_key() {
  static const auto key = crypto::RsaPrivateKey::generate();
  return key;
}
inline const Identity& daemon_identity() {
  static const penstock::tests::TempDir state;
  static const auto identity = Identity::load_or_create(state.path()).value();
  return identity;
}
inline const Identity& other_identity() {
  static const penstock::tests::TempDir state;
  static const auto identity = Identity::load_or_create(state.path()).value();
  return identity;
}
inline const ReceiptKey& receipt_key() {
  static const ReceiptKey key{crypto::Ed25519SigningKey::generate(), daemon_identity()};
  return key;
}

/// A registry in a directory of its own, with helpers to fill it.
struct TestRegistry {
  penstock::tests::TempDir state;
  std::unique_ptr<Registry> registry = open_sqlite_registry(state.path()).value();

  Token add_token(UnixSeconds expires = {noon.value + 3600}, const Pin& pin = daemon_identity().pin()) {
    auto token = make_token(pin, "");
    REQUIRE(registry
                ->add_token({.id = token.id,
                             .secret_sha256 = token_secret_digest(token.secret.view()),
                             .user = "ann",
                             .grants = {parse_grant("rw:/p").value()},
                             .created = noon,
                             .expires = expires,
                             .used_by = std::nullopt,
                             .revoked = std::nullopt})
                .ok());
    return token;
  }
  Uuid add_client(const crypto::RsaPrivateKey& key = client_key()) {
    const auto token = add_token();
    const auto client = registry->enrol({.token = token.id,
                                         .secret = token.secret.view(),
                                         .public_key = key.public_key().spki(),
                                         .client_name = "host"},
                                        make_uuid(), noon);
    REQUIRE(client.ok());
    REQUIRE(client->ok());
    return (*client)->uuid;
  }
};

}  // namespace penstock::control::test
