#include "common/crypto/hmac.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/check.h"

namespace penstock::crypto {

static_assert(sha256_size == SHA256_DIGEST_LENGTH);

MacSha256 hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> data) {
  PENSTOCK_CHECK(key.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()));
  MacSha256 mac;
  unsigned int size = 0;
  // OpenSSL takes a null key for "the one of last time"; an empty key must still be a pointer.
  static constexpr std::byte no_key{};
  const void* key_data = key.empty() ? &no_key : key.data();
  PENSTOCK_CHECK(HMAC(EVP_sha256(), key_data, static_cast<int>(key.size()),
                      reinterpret_cast<const unsigned char*>(data.data()), data.size(),
                      reinterpret_cast<unsigned char*>(mac.data()), &size) != nullptr);
  PENSTOCK_CHECK(size == mac.size());
  return mac;
}

bool verify_hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> data,
                        std::span<const std::byte> mac) {
  return constant_time_equal(hmac_sha256(key, data), mac);
}

SecretArray<sha256_size> hkdf_extract_sha256(std::span<const std::byte> salt, std::span<const std::byte> ikm) {
  MacSha256 prk = hmac_sha256(salt, ikm);
  SecretArray<sha256_size> out{prk};
  wipe(prk);
  return out;
}

void hkdf_expand_sha256(std::span<const std::byte> prk, std::span<const std::byte> info, std::span<std::byte> out) {
  PENSTOCK_CHECK(prk.size() >= sha256_size);
  PENSTOCK_CHECK(out.size() <= 255 * sha256_size);
  // T(i) = HMAC(PRK, T(i-1) | info | i); written out over HMAC, since EVP_KDF takes a dozen lines of parameters and
  // heap copies of the key for the same.
  std::vector<std::byte> message;
  message.reserve(sha256_size + info.size() + 1);
  for (std::uint8_t i = 1; !out.empty(); ++i) {
    message.insert(message.end(), info.begin(), info.end());
    message.push_back(std::byte{i});
    MacSha256 block = hmac_sha256(prk, message);
    const std::size_t count = std::min(out.size(), block.size());
    std::copy_n(block.begin(), count, out.begin());
    out = out.subspan(count);
    wipe(message);
    message.assign(block.begin(), block.end());  // fits the reserved room, so no stale copy is left on the heap
    wipe(block);
  }
  wipe(message);
}

}  // namespace penstock::crypto
