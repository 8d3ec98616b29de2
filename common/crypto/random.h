#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock::crypto {

/// Unpredictable bytes from getrandom(2): keys, tokens, identifiers, challenges. Blocks only before the kernel's pool
/// is first seeded; a kernel without getrandom is refused by aborting, since nothing safe could follow. Threads: any.
void random_bytes(std::span<std::byte> out);

[[nodiscard]] std::uint64_t random_u64();

template <std::size_t N>
[[nodiscard]] std::array<std::byte, N> random_array() {
  std::array<std::byte, N> out;
  random_bytes(out);
  return out;
}

}  // namespace penstock::crypto
