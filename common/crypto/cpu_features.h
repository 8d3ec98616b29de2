#pragma once

#include <string>

namespace penstock::crypto {

/// The processor's instructions that decide how fast the ciphers are, as far as the operating system lets us use them:
/// "aes,pclmul,avx2,vaes,avx512" on x86-64, "aes" on ARM; "none" without any. For people to read: which code runs is
/// each backend's own decision.
[[nodiscard]] std::string cpu_features();

}  // namespace penstock::crypto
