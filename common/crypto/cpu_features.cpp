#include "common/crypto/cpu_features.h"

#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_AES
#define HWCAP_AES (1 << 3)  // asm/hwcap.h
#endif
#endif

namespace penstock::crypto {
namespace {

#if defined(__x86_64__)
// Intel SDM volume 2A, CPUID: leaf 7, subleaf 0, ECX. Not all our compilers know the name for their own query.
constexpr unsigned vaes_bit = 1U << 9;

bool has_vaes() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c & vaes_bit) != 0;
}
#endif

}  // namespace

bool cpu_has_aes() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
  return (::getauxval(AT_HWCAP) & HWCAP_AES) != 0;
#else
  return false;
#endif
}

std::string cpu_features() {
  std::string out;
  [[maybe_unused]] const auto add = [&](bool there, std::string_view name) {
    if (there) out.append(out.empty() ? "" : ",").append(name);
  };
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") != 0;  // which asks the operating system as well
  add(__builtin_cpu_supports("aes") != 0, "aes");
  add(__builtin_cpu_supports("pclmul") != 0, "pclmul");
  add(avx2, "avx2");
  add(avx2 && has_vaes(), "vaes");
  add(__builtin_cpu_supports("avx512f") != 0, "avx512");
#elif defined(__aarch64__)
  add(cpu_has_aes(), "aes");
#endif
  return out.empty() ? "none" : out;
}

}  // namespace penstock::crypto
