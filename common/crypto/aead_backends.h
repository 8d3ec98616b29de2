#pragma once

#include <cstdint>

#include "common/crypto/aead.h"

namespace penstock::crypto {

// The implementations, for aead.cpp and its tests; everyone else asks aead_backends(). Each lives for the whole
// process.

/// AES-256-GCM and ChaCha20-Poly1305 by OpenSSL's EVP; always usable.
const AeadBackend& openssl_aes_backend();
const AeadBackend& openssl_chacha_backend();
/// ChaCha20-Poly1305 by libsodium; always usable.
const AeadBackend& libsodium_backend();
/// Which of its codes intel-ipsec-mb runs: the best for this processor, or what it would run on an older one, so that a
/// machine with AVX-512 can test them all.
enum class IpsecMbCode : std::uint8_t { best, avx2, avx };
/// AES-256-GCM by intel-ipsec-mb; nullptr where the build or the CPU has it not (AES-NI, PCLMULQDQ and AVX needed).
const AeadBackend* ipsec_mb_backend(IpsecMbCode code = IpsecMbCode::best);

}  // namespace penstock::crypto
