#include "dataplane/engine/ranges/extent_map.h"

#include <algorithm>
#include <numeric>

#include "common/check.h"

namespace penstock::engine {

using bytes::Interval;

ExtentMap::ExtentMap(std::size_t lanes) : extent_size_(extent_bytes(lanes)), slots_(lanes) {
  PENSTOCK_CHECK(lanes > 0 && lanes <= 256);
  std::iota(slots_.begin(), slots_.end(), std::uint8_t{0});
}

std::vector<ExtentMap::Moved>::const_iterator ExtentMap::first_moved(std::uint64_t from) const {
  return std::lower_bound(moved_.begin(), moved_.end(), from,
                          [](const Moved& moved, std::uint64_t extent) { return moved.first < extent; });
}

std::size_t ExtentMap::owner_of(std::uint64_t extent) const {
  if (whole()) return 0;
  if (!moved_.empty()) {
    const auto moved = first_moved(extent);
    if (moved != moved_.end() && moved->first == extent) return moved->second;
  }
  return slots_[static_cast<std::size_t>(extent % slots_.size())];
}

std::size_t ExtentMap::slots_of(std::size_t lane) const {
  return static_cast<std::size_t>(std::ranges::count(slots_, lane));
}

std::optional<Interval> ExtentMap::first_run(std::size_t lane, Interval within) const {
  if (within.empty()) return std::nullopt;
  if (whole()) return within;
  const bool has_slot = std::ranges::find(slots_, lane) != slots_.end();
  const std::uint64_t end = extent_of(within.end - 1) + 1;
  for (std::uint64_t extent = extent_of(within.begin); extent < end; ++extent) {
    if (!has_slot) {  // nothing but what was moved to it
      const auto next =
          std::find_if(first_moved(extent), moved_.end(), [&](const Moved& m) { return m.second == lane; });
      if (next == moved_.end() || next->first >= end) return std::nullopt;
      extent = next->first;
    }
    if (owner_of(extent) != lane) continue;
    const Interval run = bytes_of(extent);
    return Interval{std::max(run.begin, within.begin), std::min(run.end, within.end)};
  }
  return std::nullopt;
}

std::vector<Interval> ExtentMap::moved_by(const ExtentMove& move, Interval within) const {
  std::vector<Interval> runs;
  if (move.extent) {
    if (*move.extent > transfer_space_max / extent_size_ || owner_of(*move.extent) != move.from) return runs;
    const Interval all = bytes_of(*move.extent);
    within = {std::max(within.begin, all.begin), std::min(within.end, all.end)};
    if (within.begin < within.end) runs.push_back(within);
    return runs;
  }
  while (within.begin < within.end) {
    const auto run = first_run(move.from, within);
    if (!run) break;
    runs.push_back(*run);
    within.begin = run->end;
  }
  return runs;
}

bool ExtentMap::apply(const ExtentMove& move) {
  if (move.from >= lanes() || move.to >= lanes() || move.from == move.to) return false;
  const auto from = static_cast<std::uint8_t>(move.from);
  const auto to = static_cast<std::uint8_t>(move.to);
  if (!move.extent) {
    std::ranges::replace(slots_, from, to);
    for (Moved& moved : moved_)
      if (moved.second == from) moved.second = to;
    return true;
  }
  const std::uint64_t extent = *move.extent;
  if (extent > transfer_space_max / extent_size_ || owner_of(extent) != move.from) return false;
  const auto at = moved_.begin() + (first_moved(extent) - moved_.cbegin());
  if (at != moved_.end() && at->first == extent) {
    at->second = to;
    return true;
  }
  if (!has_room()) return false;
  moved_.insert(at, {extent, to});
  return true;
}

void insert_overlap(bytes::IntervalSet& set, const bytes::IntervalSet& from, Interval within) {
  while (within.begin < within.end) {
    const auto part = from.first_overlap(within);
    if (!part) return;
    (void)set.insert(*part);
    within.begin = part->end;
  }
}

}  // namespace penstock::engine
