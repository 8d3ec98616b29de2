#pragma once

#include <doctest/doctest.h>

#include <memory>

#include "common/check.h"
#include "common/crypto/random.h"
#include "common/crypto/rsa_key.h"
#include "control/gate/identity.h"
#include "control/gate/token.h"
#include "control/registry/sqlite_registry.h"
#include "tests/keys/made_keys.h"
#include "tests/printers.h"
#include "tests/temp_dir.h"

namespace penstock::control::test {

inline constexpr UnixSeconds noon{1'700'000'000};

inline crypto::RsaPrivateKey some_key() {
  const auto made = next_made_key();
  return made ? crypto::RsaPrivateKey::load(made->string()).value() : crypto::RsaPrivateKey::generate();
}
inline Identity some_identity(const penstock::tests::TempDir& state) {
  if (const auto made = next_made_key()) PENSTOCK_CHECK(give_daemon(state.path(), *made).ok());
  return Identity::load_or_create(state.path()).value();
}

inline const crypto::RsaPrivateKey& client_key() {
  static const auto key = some_key();
  return key;
}
inline const crypto::RsaPrivateKey& other_key() {
  static const auto key = some_key();
  return key;
}
inline const Identity& daemon_identity() {
  static const penstock::tests::TempDir state;
  static const auto identity = some_identity(state);
  return identity;
}
inline const Identity& other_identity() {
  static const penstock::tests::TempDir state;
  static const auto identity = some_identity(state);
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
