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
  if (const auto patch = patch_behind(at.value); patch != patches_.end() && patch->first <= at.value) {
    patch->second.touched = ++turn_;
    const auto run = std::span{*patch->second.bytes}.subspan(static_cast<std::size_t>(at.value - patch->first));
    return run.first(std::min(length_max, run.size()));
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
  while (!patches_.empty() && patches_.begin() != patch_behind(oldest_unacknowledged.value)) forget(patches_.begin());
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

void LaneResidents::take(const Patch& patch) {
  if (patch.bytes->empty()) return;
  const std::uint64_t begin = patch.at.value;
  const std::uint64_t end = begin + patch.bytes->size();
  for (auto at = patch_behind(begin); at != patches_.end() && at->first < end;) at = forget(at);
  patches_[begin] = {patch.bytes, ++turn_};
  patched_bytes_ += patch.bytes->size();
  while (patched_bytes_ > patched_bytes_max && patches_.size() > 1) {
    forget(std::ranges::min_element(patches_, {}, [](const auto& each) { return each.second.touched; }));
  }
}

LaneResidents::Patches::iterator LaneResidents::patch_behind(std::uint64_t at) {
  auto after = patches_.upper_bound(at);
  if (after != patches_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second.bytes->size() > at) return before;
  }
  return after;
}

LaneResidents::Patches::iterator LaneResidents::forget(Patches::iterator patch) {
  patched_bytes_ -= patch->second.bytes->size();
  return patches_.erase(patch);
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
  for (auto at = patch_behind(range.begin); at != patches_.end() && at->first < range.end;) at = forget(at);
}

void LaneResidents::clear() {
  resident_.clear();
  patches_.clear();
  patched_bytes_ = 0;
}

}  // namespace penstock::storage
