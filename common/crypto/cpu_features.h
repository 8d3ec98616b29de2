#pragma once

#include <string>

namespace penstock::crypto {

/// AES-GCM runs in the processor's own instructions, and so faster than ChaCha20. Threads: any.
[[nodiscard]] bool cpu_has_aes();

/// The processor's instructions that decide how fast the ciphers are, as far as the operating system lets us use them:
/// "aes,pclmul,avx2,vaes,avx512" on x86-64, "aes" on ARM; "none" without any. For people to read: which code runs is
/// each backend's own decision. Threads: any.
[[nodiscard]] std::string cpu_features();

}  // namespace penstock::crypto
