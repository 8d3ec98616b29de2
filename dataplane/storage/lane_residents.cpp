#include "dataplane/storage/lane_residents.h"

#include <algorithm>
#include <vector>

namespace penstock::storage {
namespace {

std::span<const std::byte> zeros() {
  static const std::vector<std::byte> bytes(64 * 1024);
  return bytes;
}

}  // namespace

std::span<const std::byte> LaneResidents::resident(TransferOffset at, std::size_t length_max) {
  const auto found = resident_.find(at.value / slab_bytes);
  if (found != resident_.end()) {
    if (const auto run = found->second.valid.find(at.value)) {
      found->second.touched = ++turn_;
      const auto length = std::min<std::uint64_t>(length_max, run->end - at.value);
      return found->second.slab->bytes().subspan(static_cast<std::size_t>(at.value % slab_bytes),
                                                 static_cast<std::size_t>(length));
    }
  }
  if (const auto run = failed_.find(at.value)) {
    // A datagram never crosses a slab's end (lane_config.h), so neither does what is lent.
    const std::uint64_t slab_end = (at.value / slab_bytes + 1) * slab_bytes;
    const std::uint64_t length =
        std::min({std::uint64_t{length_max}, run->end - at.value, slab_end - at.value, std::uint64_t{zeros().size()}});
    return zeros().first(static_cast<std::size_t>(length));
  }
  misses_.fetch_add(1, std::memory_order_relaxed);
  return {};
}

void LaneResidents::on_progress(TransferOffset frontier, TransferOffset oldest_unacknowledged,
                                std::uint64_t retention) {
  frontier_ = frontier.value;
  const std::size_t before = resident_.size();
  resident_.erase(resident_.begin(), resident_.lower_bound(oldest_unacknowledged.value / slab_bytes));
  home_.on_progress(frontier, retention, resident_.size() < before);
}

void LaneResidents::take(const FilledRanges& filled) {
  auto& place = resident_[filled.number];
  if (place.slab && place.slab != filled.slab) {
    // Read again while the pass was at it: the larger part stays, the rest comes with the next miss.
    std::uint64_t size = 0;
    for (const auto& range : filled.ranges) size += range.size();
    if (size <= place.valid.size()) return;
    place.valid.clear();
  }
  place.slab = filled.slab;
  place.touched = ++turn_;
  for (const auto& range : filled.ranges) place.valid.insert({range.begin.value, range.end.value});
}

bool LaneResidents::evict(Evict which) {
  auto victim = resident_.end();
  for (auto at = resident_.begin(); at != resident_.end(); ++at) {
    if (which == Evict::sent && (at->first + 1) * slab_bytes > frontier_) break;
    if (victim == resident_.end() || at->second.touched < victim->second.touched) victim = at;
  }
  if (victim == resident_.end()) return false;
  resident_.erase(victim);
  return true;
}

void LaneResidents::drop(bytes::Interval range) {
  resident_.erase(resident_.lower_bound(range.begin / slab_bytes), resident_.lower_bound(range.end / slab_bytes));
}

}  // namespace penstock::storage
