#pragma once

#include <array>
#include <cstddef>
#include <cstdlib>
#include <memory>

#include "common/check.h"
#include "common/crypto/aead.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::benchmarks {

/// Page-aligned memory, as Penstock's own slabs are.
struct FreeSlab {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using SlabMemory = std::unique_ptr<std::byte[], FreeSlab>;
/// Requires: a multiple of 4 KiB.
[[nodiscard]] inline SlabMemory make_slab(std::size_t size) {
  auto* const memory = static_cast<std::byte*>(std::aligned_alloc(4096, size));
  PENSTOCK_CHECK(memory != nullptr);
  return SlabMemory{memory};
}

/// What one read and one write move, and no datagram crosses.
inline constexpr std::size_t blast_slab_size = static_cast<std::size_t>(engine::slab_size);
/// What a sealed datagram carries beside file bytes.
inline constexpr std::size_t blast_overhead = engine::data_header_size + crypto::aead_tag_size;
/// Everybody's key: see terms.h.
inline constexpr std::array<std::byte, crypto::aead_key_size> blast_key{std::byte{0x70}, std::byte{0x65}};

}  // namespace penstock::benchmarks
