#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/check.h"
#include "common/crypto/rsa_key.h"

// A peer's key: what is accepted is an RSA key of the allowed size whose encoding is its only one.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::crypto;
  const auto der = std::as_bytes(std::span{data, size});
  if (const auto key = RsaPublicKey::from_spki(der, KeyChecks::all)) {
    PENSTOCK_CHECK(key->bits() >= rsa_bits_min && key->bits() <= rsa_bits_max);
    PENSTOCK_CHECK(std::equal(der.begin(), der.end(), key->spki().begin(), key->spki().end()));
    PENSTOCK_CHECK(key->pin() == spki_pin(der));
  }
  return 0;
}
