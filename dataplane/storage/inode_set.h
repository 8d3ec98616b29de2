#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace penstock::storage {

/// Which inodes this transfer has published: a colliding name must never replace one of them. Open addressing; 16 to 32
/// bytes an inode, since a transfer may have millions. Threads: one owner.
class InodeSet {
 public:
  void insert(std::uint64_t device, std::uint64_t inode) {
    if ((count_ + 1) * 2 > slots_.size()) grow();
    count_ += place(key(device, inode)) ? 1U : 0U;
  }
  [[nodiscard]] bool contains(std::uint64_t device, std::uint64_t inode) const {
    if (slots_.empty()) return false;
    const std::uint64_t wanted = key(device, inode);
    for (std::size_t at = spread(wanted);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at] == wanted) return true;
      if (slots_[at] == 0) return false;
    }
  }

 private:
  /// Device numbers are small: rotated to the top they keep two file systems' inodes apart. Never 0.
  static std::uint64_t key(std::uint64_t device, std::uint64_t inode) {
    const std::uint64_t mixed = inode ^ (device << 40 | device >> 24);
    return mixed == 0 ? 1 : mixed;
  }
  [[nodiscard]] std::size_t spread(std::uint64_t value) const {
    return static_cast<std::size_t>(value * 0x9e3779b97f4a7c15U >> 20) & (slots_.size() - 1);
  }
  bool place(std::uint64_t value) {
    std::size_t at = spread(value);
    while (slots_[at] != 0 && slots_[at] != value) at = (at + 1) & (slots_.size() - 1);
    const bool is_new = slots_[at] == 0;
    slots_[at] = value;
    return is_new;
  }
  void grow() {
    std::vector<std::uint64_t> old = std::move(slots_);
    slots_.assign(old.empty() ? 64 : old.size() * 2, 0);
    for (const std::uint64_t value : old) {
      if (value != 0) (void)place(value);
    }
  }

  std::vector<std::uint64_t> slots_;  // a power of two; 0 is free
  std::size_t count_ = 0;
};

}  // namespace penstock::storage
