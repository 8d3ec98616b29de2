#include "common/crypto/ed25519.h"

#include <sodium.h>

#include "common/check.h"
#include "common/crypto/random.h"

namespace penstock::crypto {
namespace {

static_assert(ed25519_seed_size == crypto_sign_SEEDBYTES);
static_assert(sizeof(Ed25519PublicKey) == crypto_sign_PUBLICKEYBYTES);
static_assert(sizeof(Ed25519Signature) == crypto_sign_BYTES);
static_assert(SecretArray<64>::size() == crypto_sign_SECRETKEYBYTES);

unsigned char* raw(std::byte* data) { return reinterpret_cast<unsigned char*>(data); }
const unsigned char* raw(const std::byte* data) { return reinterpret_cast<const unsigned char*>(data); }

void ensure_sodium() { PENSTOCK_CHECK(sodium_init() >= 0); }  // repeated calls are cheap and safe in threads

}  // namespace

Ed25519SigningKey Ed25519SigningKey::generate() {
  SecretArray<ed25519_seed_size> seed;
  random_bytes(seed.writable());
  return from_seed(seed.view());
}

Ed25519SigningKey Ed25519SigningKey::from_seed(std::span<const std::byte, ed25519_seed_size> seed) {
  ensure_sodium();
  Ed25519SigningKey key;
  PENSTOCK_CHECK(
      crypto_sign_seed_keypair(raw(key.public_key_.data()), raw(key.secret_.writable().data()), raw(seed.data())) == 0);
  return key;
}

SecretArray<ed25519_seed_size> Ed25519SigningKey::seed() const {
  return SecretArray<ed25519_seed_size>{secret_.view().first<ed25519_seed_size>()};
}

Ed25519Signature Ed25519SigningKey::sign(std::span<const std::byte> message) const {
  Ed25519Signature signature;
  PENSTOCK_CHECK(crypto_sign_detached(raw(signature.data()), nullptr, raw(message.data()), message.size(),
                                      raw(secret_.view().data())) == 0);
  return signature;
}

bool ed25519_verify(const Ed25519PublicKey& key, std::span<const std::byte> message,
                    std::span<const std::byte> signature) {
  ensure_sodium();
  return signature.size() == crypto_sign_BYTES &&
         crypto_sign_verify_detached(raw(signature.data()), raw(message.data()), message.size(), raw(key.data())) == 0;
}

}  // namespace penstock::crypto
