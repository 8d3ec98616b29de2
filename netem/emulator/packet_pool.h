#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace penstock::netem {

/// Equal slots for packets in flight, all of them set aside at the start; pages are touched as they are first used.
/// The slot freed last is handed out next, while it is in cache. Threads: one owner.
class PacketPool {
 public:
  using Slot = std::uint32_t;

  PacketPool(std::size_t slot_size, std::size_t slot_count);

  /// nullopt when every slot is taken.
  [[nodiscard]] std::optional<Slot> try_take();
  /// Requires: taken, and not given back since.
  void give_back(Slot slot);
  /// Valid as long as the pool.
  [[nodiscard]] std::span<std::byte> bytes(Slot slot) {
    return {memory_.get() + std::size_t{slot} * slot_size_, slot_size_};
  }

  [[nodiscard]] std::size_t capacity() const { return slot_count_; }
  [[nodiscard]] std::size_t taken() const { return fresh_ - free_.size(); }
  [[nodiscard]] std::size_t taken_max() const { return taken_max_; }

 private:
  std::size_t slot_size_;
  std::size_t slot_count_;
  std::unique_ptr<std::byte[]> memory_;
  std::vector<Slot> free_;
  std::size_t fresh_ = 0;  // slots from here on have never been used
  std::size_t taken_max_ = 0;
};

}  // namespace penstock::netem
