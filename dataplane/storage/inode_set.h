#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace penstock::storage {

/// Which inodes this transfer has published: a colliding name must never replace one of them. Keeps 32 bits of each, so
/// that contains() is wrong about once in 2^31: who acts on a yes makes sure of it (Journal::has_published).
/// Memory: 5 to 11 bytes an inode, since a transfer may have millions. Threads: one owner.
class InodeSet {
 public:
  void insert(std::uint64_t device, std::uint64_t inode) {
    if ((count_ + 1) * 4 > slots_.size() * 3) grow();
    count_ += place(key(device, inode)) ? 1U : 0U;
  }
  /// False is certain.
  [[nodiscard]] bool contains(std::uint64_t device, std::uint64_t inode) const {
    if (slots_.empty()) return false;
    const std::uint32_t wanted = key(device, inode);
    for (std::size_t at = place_of(wanted);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at] == wanted) return true;
      if (slots_[at] == 0) return false;
    }
  }

 private:
  /// Never 0. Inodes of one file system differ in few bits: both multiplications spread them over all 32.
  static std::uint32_t key(std::uint64_t device, std::uint64_t inode) {
    const std::uint64_t mixed = (inode ^ (device << 40 | device >> 24)) * 0x9e3779b97f4a7c15U;
    const auto folded = static_cast<std::uint32_t>((mixed ^ mixed >> 32) * 0xd6e8feb86659fd93U >> 32);
    return folded == 0 ? 1 : folded;
  }
  [[nodiscard]] std::size_t place_of(std::uint32_t key) const {
    return static_cast<std::size_t>(key * std::uint64_t{0x9e3779b97f4a7c15U} >> 20) & (slots_.size() - 1);
  }
  bool place(std::uint32_t value) {
    std::size_t at = place_of(value);
    while (slots_[at] != 0 && slots_[at] != value) at = (at + 1) & (slots_.size() - 1);
    const bool is_new = slots_[at] == 0;
    slots_[at] = value;
    return is_new;
  }
  void grow() {
    std::vector<std::uint32_t> old = std::move(slots_);
    slots_.assign(old.empty() ? 64 : old.size() * 2, 0);
    for (const std::uint32_t value : old) {
      if (value != 0) (void)place(value);
    }
  }

  std::vector<std::uint32_t> slots_;  // a power of two; 0 is free
  std::size_t count_ = 0;
};

}  // namespace penstock::storage
