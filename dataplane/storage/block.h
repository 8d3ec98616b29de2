#pragma once

#include <compare>
#include <cstdint>

#include "common/units.h"

namespace penstock::storage {

// Specification: digests, journal, resume and repair count in blocks of a file (DESIGN section 3, "Identity").
inline constexpr std::uint64_t block_size = 1 * MiB;

/// Blocks of a file of `size` bytes; the last may be shorter; an empty file has none.
constexpr std::uint64_t block_count(std::uint64_t size) { return (size + block_size - 1) / block_size; }

/// Consecutive blocks of one file.
struct BlockRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  [[nodiscard]] constexpr std::uint64_t end() const { return first + count; }
  auto operator<=>(const BlockRun&) const = default;
};

/// Consecutive blocks of the file at `index` of the manifest.
struct EntryBlocks {
  std::uint64_t index = 0;
  BlockRun blocks;
  auto operator<=>(const EntryBlocks&) const = default;
};

}  // namespace penstock::storage
