#include "dataplane/engine/ranges/received_ranges.h"

#include <algorithm>
#include <vector>

#include "common/check.h"

namespace penstock::engine {

using bytes::Interval;

ReceivedRanges::ReceivedRanges(std::uint64_t initial_credit, const LanePlace& place)
    : lane_(place.lane), extents_(place.lanes), initial_credit_(initial_credit), granted_(initial_credit) {}

void ReceivedRanges::expect(TransferOffset end) {
  PENSTOCK_CHECK(end.value >= expected_ && end.value <= transfer_space_max);
  expected_ = end.value;
}

void ReceivedRanges::withhold(TransferRange range) {
  Interval part = as_interval(range);
  ++withheld_pieces_;
  (void)forgotten_.erase(part);
  if (!extents_.whole()) (void)unwanted_.insert(part);
  while (part.begin < part.end) {
    const auto gap = here_.first_gap(part);
    if (!gap) return;
    (void)withheld_.insert(*gap);
    (void)here_.insert(*gap);
    part.begin = gap->end;
  }
}

void ReceivedRanges::forget(TransferRange range) {
  Interval part = as_interval(range);
  (void)withheld_.erase(part);
  (void)unwanted_.erase(part);
  while (part.begin < part.end) {
    const auto found = here_.first_overlap(part);
    if (!found) return;
    (void)here_.erase(*found);
    (void)forgotten_.insert(*found);
    ++withheld_pieces_;
    part.begin = found->end;
  }
}

TransferRange ReceivedRanges::first_missing(TransferRange within) const {
  const auto gap = here_.first_gap(as_interval(within));
  if (!gap) return {within.end, within.end};
  return {{gap->begin}, {gap->end}};
}

std::vector<TransferRange> ReceivedRanges::arrived(std::size_t ranges_max) const {
  std::vector<TransferRange> ranges;
  for (const Interval& here : here_.intervals()) {
    for (Interval rest = here; rest.begin < rest.end;) {
      const auto own = extents_.whole() ? std::optional{rest} : extents_.first_run(lane_, rest);
      if (!own) break;
      if (ranges.size() == ranges_max) return ranges;
      if (!ranges.empty() && ranges.back().end.value == own->begin)
        ranges.back().end = {own->end};
      else
        ranges.push_back({{own->begin}, {own->end}});
      rest.begin = own->end;
    }
  }
  return ranges;
}

std::optional<TransferRange> ReceivedRanges::held_around(TransferOffset at) const {
  const auto run = here_.find(at.value);
  if (!run) return std::nullopt;
  if (extents_.whole()) return TransferRange{{run->begin}, {run->end}};
  const std::uint64_t extent = extents_.extent_of(at.value);
  if (extents_.owner_of(extent) != lane_) return std::nullopt;
  const Interval all = extents_.bytes_of(extent);
  return TransferRange{{std::max(run->begin, all.begin)}, {std::min(run->end, all.end)}};
}

bool ReceivedRanges::is_permitted(TransferRange range) const {
  if (range.end.value > offset_limit()) return false;
  const Interval part = as_interval(range);
  std::uint64_t takes_credit = range.size() - here_.count_in(part);
  if (!forgotten_.empty()) takes_credit -= forgotten_.count_in(part);
  return first_time_ + takes_credit <= granted_;
}

bool ReceivedRanges::accept(TransferRange range) {
  const Interval part = as_interval(range);
  if (here_.interval_count() >= received_holes_max + withheld_pieces_) return false;
  if (!withheld_.empty()) on_duplicate(range);
  std::uint64_t added = here_.insert(part).count;
  if (!forgotten_.empty()) added -= forgotten_.erase(part).count;
  first_time_ += added;
  if (!extents_.whole()) {
    delivered_ += range.size();
    // Others' bytes count as here below our own first one that is missing, so that the set stays a few intervals.
    const std::uint64_t first = first_own_missing();
    (void)here_.insert({0, first});
    joined_ = std::max(joined_, first);
  }
  return true;
}

std::uint64_t ReceivedRanges::first_own_missing() const {
  std::uint64_t from = 0;
  for (;;) {
    from = std::min(here_.first_missing(from).value_or(expected_), expected_);
    const auto own = extents_.first_run(lane_, {from, expected_});
    if (!own) return expected_;
    if (own->begin == from) return from;
    from = own->begin;
  }
}

bool ReceivedRanges::is_nearly_complete(std::uint64_t bytes) const {
  if (extents_.whole()) return expected_ < here_.size() + bytes;
  return expected_ < first_own_missing() + bytes * extents_.lanes();
}

std::optional<ExtentState> ReceivedRanges::give_up(const ExtentMove& move) {
  ExtentState state;
  Interval rest{0, transfer_space_max};
  if (move.extent && *move.extent <= transfer_space_max / extents_.extent_size()) {
    rest = extents_.bytes_of(*move.extent);
    state.settled_below = rest.begin;
  } else {
    state.settled_below = rest.begin = first_own_missing();
  }
  if (move.from != lane_ || !extents_.apply(move)) return std::nullopt;
  while (rest.begin < rest.end) {
    const auto part = here_.first_overlap(rest);
    if (!part) break;
    state.settled.push_back(*part);
    rest.begin = part->end;
  }
  return state;
}

bool ReceivedRanges::adopt(const ExtentMove& move, const ExtentState& state) {
  // Where others' bytes count as here, what was not ours is unknown.
  const auto gained = extents_.moved_by(move, {state.settled_below, std::max(state.settled_below, joined_)});
  std::vector<Interval> settled = extents_.moved_by(move, {0, state.settled_below});
  for (const Interval& part : state.settled)
    for (const Interval& run : extents_.moved_by(move, part)) settled.push_back(run);
  if (move.to != lane_ || !extents_.apply(move)) return false;
  for (const Interval& run : gained) {
    (void)here_.erase(run);
    insert_overlap(here_, unwanted_, run);
  }
  // What came by the other lane is as good as withheld: the sender may not know, and sends it again.
  for (Interval part : settled) {
    while (part.begin < part.end) {
      const auto gap = here_.first_gap(part);
      if (!gap) break;
      (void)withheld_.insert(*gap);
      (void)here_.insert(*gap);
      part.begin = gap->end;
    }
    ++withheld_pieces_;
  }
  return true;
}

void ReceivedRanges::on_duplicate(TransferRange range) {
  if (withheld_.empty()) return;
  first_time_ += withheld_.erase(as_interval(range)).count;
  granted_ = std::max(granted_, first_time_);
}

CreditFrame ReceivedRanges::credit(std::uint64_t room) const {
  const std::uint64_t most = std::max(initial_credit_, expected_);
  return {.credit = std::max(granted_, std::min(first_time_ + std::min(room, most), most)),
          .offset_limit = {offset_limit()}};
}

std::uint64_t ReceivedRanges::offset_limit() const { return std::max(initial_credit_, expected_); }

}  // namespace penstock::engine
