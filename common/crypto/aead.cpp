#include "common/crypto/aead.h"

#include <vector>

#include "common/check.h"
#include "common/crypto/aead_backends.h"
#include "common/crypto/cpu_features.h"

namespace penstock::crypto {
namespace {

std::vector<const AeadBackend*> usable_backends() {
  std::vector<const AeadBackend*> gcm;
  if (const AeadBackend* ipsec_mb = ipsec_mb_backend()) gcm.push_back(ipsec_mb);
  gcm.push_back(&openssl_aes_backend());
  // OpenSSL's ChaCha20 first: measured half as fast again as libsodium's at 1400 bytes (AVX-512), and it has assembly
  // for the processors without AES instructions that this suite is for.
  std::vector<const AeadBackend*> all{&openssl_chacha_backend(), &libsodium_backend()};
  all.insert(cpu_has_aes() ? all.begin() : all.end(), gcm.begin(), gcm.end());
  return all;
}

}  // namespace

AeadKey::~AeadKey() = default;
AeadBackend::~AeadBackend() = default;

std::string_view to_string(AeadAlgorithm algorithm) {
  switch (algorithm) {
    case AeadAlgorithm::aes_256_gcm:
      return "aes-256-gcm";
    case AeadAlgorithm::chacha20_poly1305:
      return "chacha20-poly1305";
  }
  PENSTOCK_UNREACHABLE("an AeadAlgorithm has a name");
}

std::span<const AeadBackend* const> aead_backends() {
  // Never destroyed, as the backends themselves: threads may still seal while the process exits.
  static const auto* const backends = new std::vector<const AeadBackend*>(usable_backends());
  return *backends;
}

const AeadBackend& aead_backend_for(AeadAlgorithm algorithm) {
  for (const AeadBackend* backend : aead_backends())
    if (backend->algorithm() == algorithm) return *backend;
  PENSTOCK_UNREACHABLE("both algorithms have a backend");
}

const AeadBackend* aead_backend_named(std::string_view name) {
  for (const AeadBackend* backend : aead_backends())
    if (backend->name() == name) return backend;
  return nullptr;
}

std::array<AeadAlgorithm, 2> aead_preference() {
  if (cpu_has_aes()) return {AeadAlgorithm::aes_256_gcm, AeadAlgorithm::chacha20_poly1305};
  return {AeadAlgorithm::chacha20_poly1305, AeadAlgorithm::aes_256_gcm};
}

}  // namespace penstock::crypto
