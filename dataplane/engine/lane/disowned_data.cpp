#include "dataplane/engine/lane/disowned_data.h"

#include <iterator>

#include "common/check.h"

namespace penstock::engine {

DisownedData::Entries::const_iterator DisownedData::first_ending_after(std::uint64_t at) const {
  auto entry = entries_.upper_bound(at);
  if (entry != entries_.begin() && std::prev(entry)->second.end > at) --entry;
  return entry;
}

void DisownedData::disown(TransferRange range, std::uint64_t below) {
  PENSTOCK_CHECK(below >= newest_below_);
  if (range.empty()) return;
  newest_below_ = below;
  const std::uint64_t begin = range.begin.value;
  const std::uint64_t end = range.end.value;
  // The new bound is above all others, so the range takes the place of whatever lay there; what sticks out stays.
  for (auto entry = first_ending_after(begin); entry != entries_.end() && entry->first < end;) {
    const std::uint64_t old_begin = entry->first;
    const Entry old = entry->second;
    entry = entries_.erase(entry);
    if (old_begin < begin) entries_.emplace(old_begin, Entry{begin, old.below});
    if (old.end > end) entries_.emplace(end, Entry{old.end, old.below});
  }
  // Neighbours of one bound become one entry.
  std::uint64_t merged_begin = begin;
  std::uint64_t merged_end = end;
  auto next = entries_.lower_bound(end);
  if (next != entries_.end() && next->first == end && next->second.below == below) {
    merged_end = next->second.end;
    next = entries_.erase(next);
  }
  if (next != entries_.begin()) {
    const auto previous = std::prev(next);
    if (previous->second.end == begin && previous->second.below == below) {
      merged_begin = previous->first;
      entries_.erase(previous);
    }
  }
  entries_.emplace(merged_begin, Entry{merged_end, below});
}

void DisownedData::forget_below(std::uint64_t first) {
  if (first >= newest_below_) entries_.clear();
}

}  // namespace penstock::engine
