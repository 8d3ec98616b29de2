#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "common/erasure/erasure_code.h"
#include "common/units.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::engine {

/// The symbols of one size, numbered through all of transfer space. Each slab is cut anew, so none crosses a slab.
class SymbolGrid {
 public:
  /// Requires: erasure::symbol_size_min <= size <= 65535.
  explicit constexpr SymbolGrid(std::uint64_t size) : size_(size), per_slab_((slab_size + size - 1) / size) {}

  [[nodiscard]] constexpr std::uint64_t size() const { return size_; }
  /// The symbol that byte `offset` lies in.
  [[nodiscard]] constexpr std::uint64_t symbol_at(std::uint64_t offset) const {
    return offset / slab_size * per_slab_ + offset % slab_size / size_;
  }
  [[nodiscard]] constexpr std::uint64_t begin_of(std::uint64_t symbol) const {
    return symbol / per_slab_ * slab_size + symbol % per_slab_ * size_;
  }
  /// Where it ends: after `size` bytes, or at the end of its slab.
  [[nodiscard]] constexpr std::uint64_t end_of(std::uint64_t symbol) const {
    const std::uint64_t begin = begin_of(symbol);
    return std::min(begin + size_, (begin / slab_size + 1) * slab_size);
  }

 private:
  std::uint64_t size_;
  std::uint64_t per_slab_;
};

inline constexpr std::size_t slots_max = erasure::source_symbols_max;
inline constexpr std::size_t stride_max = 4096;

/// Which slots of a generation are in it.
class SlotMask {
 public:
  [[nodiscard]] constexpr bool has(std::size_t slot) const { return (half(slot) >> (slot % 64) & 1) != 0; }
  constexpr void add(std::size_t slot) { half(slot) |= std::uint64_t{1} << (slot % 64); }
  constexpr void remove(std::size_t slot) { half(slot) &= ~(std::uint64_t{1} << (slot % 64)); }
  [[nodiscard]] constexpr std::size_t count() const {
    return static_cast<std::size_t>(std::popcount(low) + std::popcount(high));
  }
  [[nodiscard]] constexpr bool empty() const { return low == 0 && high == 0; }
  /// Requires: !empty().
  [[nodiscard]] constexpr std::size_t last() const {
    return high != 0 ? 127 - static_cast<std::size_t>(std::countl_zero(high))
                     : 63 - static_cast<std::size_t>(std::countl_zero(low));
  }
  bool operator==(const SlotMask&) const = default;

  std::uint64_t low = 0;   // slots 0 to 63, from the low bit on
  std::uint64_t high = 0;  // slots 64 to 127

 private:
  constexpr std::uint64_t& half(std::size_t slot) { return slot < 64 ? low : high; }
  [[nodiscard]] constexpr const std::uint64_t& half(std::size_t slot) const { return slot < 64 ? low : high; }
};
static_assert(slots_max == 128);

/// The source symbols of one generation; equal layouts are the same generation.
struct RepairLayout {
  TransferOffset base;       // of slot 0: begins a symbol of the grid
  std::uint16_t size = 0;    // S
  std::uint16_t stride = 1;  // symbols from one slot to the next
  std::uint16_t last = 0;    // bytes of the last slot in the mask; what is offered may end there
  SlotMask mask;             // slot 0 is in it
  bool operator==(const RepairLayout&) const = default;

  [[nodiscard]] SymbolGrid grid() const { return SymbolGrid{size}; }
  /// The bytes of a slot of the mask: `size` of them, fewer at the end of a slab, `last` in the last one.
  [[nodiscard]] TransferRange bytes_of(std::size_t slot) const {
    const SymbolGrid symbols = grid();
    const std::uint64_t symbol = symbols.symbol_at(base.value) + slot * stride;
    const std::uint64_t begin = symbols.begin_of(symbol);
    return {{begin}, {slot == mask.last() ? begin + last : symbols.end_of(symbol)}};
  }
  [[nodiscard]] TransferOffset end() const { return bytes_of(mask.last()).end; }
  /// Some byte of `range` (not empty) may lie in one of its slots, in the mask or not.
  [[nodiscard]] bool touches(TransferRange range) const {
    const SymbolGrid symbols = grid();
    const std::uint64_t first = symbols.symbol_at(base.value);
    const std::uint64_t to = symbols.symbol_at(range.end.value - 1);
    if (to < first) return false;
    const std::uint64_t from = std::max(symbols.symbol_at(range.begin.value), first);
    const std::uint64_t slot = (from - first + stride - 1) / stride;  // the next one from there on
    return slot <= mask.last() && first + slot * stride <= to;
  }
};

/// Calls `visit(slot, bytes)` for each slot of the mask, in ascending order.
template <class Visit>
void for_each_symbol(const RepairLayout& layout, Visit visit) {
  for (std::size_t slot = 0; slot < slots_max; ++slot)
    if (layout.mask.has(slot)) visit(slot, layout.bytes_of(slot));
}

}  // namespace penstock::engine
