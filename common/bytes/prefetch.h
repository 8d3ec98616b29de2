#pragma once

#include <cstddef>
#include <span>

namespace penstock::bytes {

inline constexpr std::size_t cache_line_size = 64;

/// Has the processor fetch the cache lines of memory that is about to be read. A hint: it can not fault, changes
/// nothing, and costs an instruction a line.
inline void prefetch_for_reading(std::span<const std::byte> memory) {
  for (std::size_t at = 0; at < memory.size(); at += cache_line_size) __builtin_prefetch(memory.data() + at, 0);
}

/// The same for memory that is about to be overwritten: the lines come without other cores' copies of them.
inline void prefetch_for_writing(std::span<std::byte> memory) {
  for (std::size_t at = 0; at < memory.size(); at += cache_line_size) {
#if defined(__x86_64__)
    // The builtin would ask for a shared copy unless the whole program were compiled for processors with PREFETCHW;
    // those without it have always read the instruction as none.
    __asm__ volatile("prefetchw %0" : : "m"(memory[at]));
#else
    __builtin_prefetch(memory.data() + at, 1);
#endif
  }
}

}  // namespace penstock::bytes
