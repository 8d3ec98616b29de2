#pragma once

#include <cstddef>

#include "common/crypto/aead.h"
#include "common/units.h"

namespace penstock::crypto {

/// The packet's nonce: the 64-bit number, big-endian and right-aligned, xored into the epoch's IV (PROTOCOL section 2;
/// RFC 9001 section 5.3). Distinct numbers give distinct nonces; numbers are never reused under a key.
[[nodiscard]] inline Nonce packet_nonce(const Nonce& iv, PacketNumber number) {
  Nonce nonce = iv;
  for (std::size_t i = 0; i < 8; ++i)
    nonce[aead_nonce_size - 1 - i] ^= static_cast<std::byte>((number.value >> (8 * i)) & 0xff);
  return nonce;
}

}  // namespace penstock::crypto
