#include "common/crypto/aead_backends.h"

namespace penstock::crypto {

// Compiled where intel-ipsec-mb does not exist: any processor but x86-64.
const AeadBackend* ipsec_mb_backend(IpsecMbCode) { return nullptr; }

}  // namespace penstock::crypto
