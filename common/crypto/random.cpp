#include "common/crypto/random.h"

#include <sys/random.h>

#include <cerrno>

#include "common/check.h"

namespace penstock::crypto {

void random_bytes(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;  // a signal, before the pool was seeded or in a long read
    PENSTOCK_CHECK(got > 0);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::uint64_t random_u64() {
  std::uint64_t value = 0;
  random_bytes(std::as_writable_bytes(std::span{&value, 1}));
  return value;
}

}  // namespace penstock::crypto
