#pragma once

#include "common/crypto/aead.h"

namespace penstock::sim {

/// For networks without an attacker, where a third of a simulation's time would go into AES: it hides nothing, and its
/// tag is a checksum of key, nonce, header and content, so that damage, other keys and other packet numbers are found
/// as ever. It calls itself AES-256-GCM, which has the same sizes. Lives for the whole process. Threads: any.
[[nodiscard]] const crypto::AeadBackend& checksum_backend();

}  // namespace penstock::sim
