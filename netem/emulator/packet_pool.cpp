#include "netem/emulator/packet_pool.h"

#include <algorithm>
#include <limits>

#include "common/check.h"

namespace penstock::netem {

PacketPool::PacketPool(std::size_t slot_size, std::size_t slot_count)
    : slot_size_(slot_size),
      slot_count_(slot_count),
      memory_(std::make_unique_for_overwrite<std::byte[]>(slot_size * slot_count)) {
  PENSTOCK_CHECK(slot_count <= std::numeric_limits<Slot>::max());
  free_.reserve(slot_count);
}

std::optional<PacketPool::Slot> PacketPool::try_take() {
  std::optional<Slot> slot;
  if (!free_.empty()) {
    slot = free_.back();
    free_.pop_back();
  } else if (fresh_ < slot_count_) {
    slot = static_cast<Slot>(fresh_++);
  }
  taken_max_ = std::max(taken_max_, taken());
  return slot;
}

void PacketPool::give_back(Slot slot) {
  PENSTOCK_CHECK(slot < fresh_ && free_.size() < fresh_);
  free_.push_back(slot);
}

}  // namespace penstock::netem
