#include "common/bytes/interval_set.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "common/check.h"

namespace penstock::bytes {

namespace {
// Below it a set just grows: a quarter of fewer entries than that leaves no room at the front.
constexpr std::size_t quarters_from = 16;
}  // namespace

static_assert(std::is_trivially_copyable_v<Interval>);

IntervalSet::IntervalSet(std::size_t intervals_max) : intervals_max_(intervals_max) {
  PENSTOCK_CHECK(intervals_max > 0);
}

IntervalSet::Change IntervalSet::insert_anywhere(Interval added) {
  PENSTOCK_CHECK(added.begin <= added.end);
  if (added.empty()) return {true, 0};
  const auto entries = intervals();

  // In order is the common case: beyond the last interval, or growing it.
  std::size_t first = count_;
  if (count_ > 0 && added.begin <= entries.back().end)
    // The first that touches or overlaps is the first that ends at or after our begin.
    first = added.begin == 0 ? 0 : first_ending_after(added.begin - 1);
  std::size_t last = first;  // one past the intervals that merge with `added`
  std::uint64_t merged_size = 0;
  Interval merged = added;
  if (first < count_ && entries[first].begin <= added.end) {
    const auto beyond = std::upper_bound(entries.begin() + static_cast<std::ptrdiff_t>(first), entries.end(), added.end,
                                         [](std::uint64_t end, const Interval& i) { return end < i.begin; });
    last = static_cast<std::size_t>(beyond - entries.begin());
    for (std::size_t i = first; i < last; ++i) merged_size += entries[i].size();
    merged.begin = std::min(merged.begin, entries[first].begin);
    merged.end = std::max(merged.end, entries[last - 1].end);
  }

  if (first == last) {
    if (count_ >= intervals_max_) return {false, 0};
    open_slot(first);
  } else {
    close_slots(first + 1, last - first - 1);
  }
  buffer_[head_ + first] = merged;
  const std::uint64_t grown = merged.size() - merged_size;
  size_ += grown;
  return {true, grown};
}

IntervalSet::Change IntervalSet::erase(Interval removed) {
  PENSTOCK_CHECK(removed.begin <= removed.end);
  if (removed.empty()) return {true, 0};
  const std::size_t first = first_ending_after(removed.begin);
  if (first == count_ || intervals()[first].begin >= removed.end) return {true, 0};

  Interval& opening = buffer_[head_ + first];
  if (opening.begin < removed.begin && removed.end < opening.end) {  // a hole in the middle
    if (count_ >= intervals_max_) return {false, 0};
    const Interval tail{removed.end, opening.end};
    opening.end = removed.begin;
    open_slot(first + 1);
    buffer_[head_ + first + 1] = tail;
    size_ -= removed.size();
    return {true, removed.size()};
  }

  std::uint64_t gone = 0;
  std::size_t begin = first;
  if (opening.begin < removed.begin) {
    gone += opening.end - removed.begin;
    opening.end = removed.begin;
    ++begin;
  }
  std::size_t end = begin;
  while (end < count_ && intervals()[end].end <= removed.end) gone += intervals()[end++].size();
  if (end < count_ && intervals()[end].begin < removed.end) {
    Interval& closing = buffer_[head_ + end];
    gone += removed.end - closing.begin;
    closing.begin = removed.end;
  }
  close_slots(begin, end - begin);
  size_ -= gone;
  return {true, gone};
}

std::uint64_t IntervalSet::erase_below(std::uint64_t bound) {
  return erase({0, bound}).count;  // never splits an interval, so the bound can not refuse it
}

Interval IntervalSet::pop_front() {
  const Interval first = front();
  close_slots(0, 1);
  size_ -= first.size();
  return first;
}

void IntervalSet::clear() {
  head_ = 0;
  count_ = 0;
  size_ = 0;
}

bool IntervalSet::contains(std::uint64_t value) const {
  const std::size_t at = first_ending_after(value);
  return at < count_ && intervals()[at].begin <= value;
}

bool IntervalSet::contains(Interval range) const {
  PENSTOCK_CHECK(range.begin <= range.end);
  if (range.empty()) return true;
  const auto holder = find(range.begin);
  return holder && range.end <= holder->end;
}

bool IntervalSet::intersects(Interval range) const { return first_overlap(range).has_value(); }

std::uint64_t IntervalSet::count_overlaps(Interval range) const {
  PENSTOCK_CHECK(range.begin <= range.end);
  if (range.begin == 0 && count_ > 0 && range.end >= intervals().back().end) return size_;
  std::uint64_t total = 0;
  for (std::size_t i = first_ending_after(range.begin); i < count_ && intervals()[i].begin < range.end; ++i)
    total += std::min(intervals()[i].end, range.end) - std::max(intervals()[i].begin, range.begin);
  return total;
}

std::optional<Interval> IntervalSet::find(std::uint64_t value) const {
  const std::size_t at = first_ending_after(value);
  if (at == count_ || intervals()[at].begin > value) return std::nullopt;
  return intervals()[at];
}

std::optional<std::uint64_t> IntervalSet::first_missing(std::uint64_t from) const {
  const auto holder = find(from);  // intervals never touch, so right behind one is a gap
  const std::uint64_t missing = holder ? holder->end : from;
  if (missing == std::numeric_limits<std::uint64_t>::max()) return std::nullopt;
  return missing;
}

std::optional<Interval> IntervalSet::find_gap(Interval within) const {
  PENSTOCK_CHECK(within.begin <= within.end);
  std::size_t at = first_ending_after(within.begin);
  std::uint64_t begin = within.begin;
  if (at < count_ && intervals()[at].begin <= begin) begin = intervals()[at++].end;
  if (begin >= within.end) return std::nullopt;
  const std::uint64_t end = at < count_ ? std::min(intervals()[at].begin, within.end) : within.end;
  return Interval{begin, end};
}

std::optional<Interval> IntervalSet::first_overlap(Interval within) const {
  PENSTOCK_CHECK(within.begin <= within.end);
  const std::size_t at = first_ending_after(within.begin);
  if (at == count_) return std::nullopt;
  const Interval overlap{std::max(intervals()[at].begin, within.begin), std::min(intervals()[at].end, within.end)};
  if (overlap.begin >= overlap.end) return std::nullopt;
  return overlap;
}

IntervalSet IntervalSet::complement(Interval within) const {
  IntervalSet gaps;
  while (const auto gap = first_gap(within)) {
    gaps.insert(*gap);
    within.begin = gap->end;
  }
  return gaps;
}

Interval IntervalSet::front() const {
  PENSTOCK_CHECK(count_ > 0);
  return intervals().front();
}

Interval IntervalSet::back() const {
  PENSTOCK_CHECK(count_ > 0);
  return intervals().back();
}

bool IntervalSet::operator==(const IntervalSet& other) const {
  return std::equal(intervals().begin(), intervals().end(), other.intervals().begin(), other.intervals().end());
}

/// Index of the first interval with end > value; count_ when there is none.
std::size_t IntervalSet::first_ending_after(std::uint64_t value) const {
  const auto entries = intervals();
  if (count_ == 0 || entries.back().end <= value) return count_;
  if (entries.front().end > value) return 0;
  const auto at = std::upper_bound(entries.begin(), entries.end(), value,
                                   [](std::uint64_t v, const Interval& i) { return v < i.end; });
  return static_cast<std::size_t>(at - entries.begin());
}

/// Makes room for one entry at `index`, moving the shorter side.
void IntervalSet::open_slot(std::size_t index) {
  const auto at = [this](std::size_t i) { return buffer_.begin() + static_cast<std::ptrdiff_t>(i); };
  const bool near_front = index < count_ - index;
  if (near_front ? head_ == 0 : head_ + count_ == buffer_.size()) make_room();
  if (near_front) {
    std::copy(at(head_), at(head_ + index), at(head_ - 1));
    --head_;
  } else {
    std::copy_backward(at(head_ + index), at(head_ + count_), at(head_ + count_ + 1));
  }
  ++count_;
}

/// Leaves free entries on both sides, a share of the whole each, so that a set that slides along stays cheap. A quarter
/// of the room goes to the front: sets grow at the back and fill holes near the front. Begins with two entries: there
/// are thousands of sets that never have more than one interval, two in each small file that is on its way.
void IntervalSet::make_room() {
  const bool crowded = buffer_.size() < quarters_from || count_ >= buffer_.size() / 4 * 3;
  std::vector<Interval> fresh;
  if (crowded) fresh.resize(std::max<std::size_t>(2, buffer_.size() * 2));
  std::vector<Interval>& target = crowded ? fresh : buffer_;
  const std::size_t head = std::max<std::size_t>(1, (target.size() - count_) / 4);
  if (count_ > 0) std::memmove(target.data() + head, buffer_.data() + head_, count_ * sizeof(Interval));
  if (crowded) buffer_ = std::move(fresh);
  head_ = head;
}

/// Drops `slots` entries from `index` on, moving the shorter side.
void IntervalSet::close_slots(std::size_t index, std::size_t slots) {
  if (slots == 0) return;
  const auto at = [this](std::size_t i) { return buffer_.begin() + static_cast<std::ptrdiff_t>(i); };
  if (index < count_ - index - slots) {
    std::copy_backward(at(head_), at(head_ + index), at(head_ + index + slots));
    head_ += slots;
  } else {
    std::copy(at(head_ + index + slots), at(head_ + count_), at(head_ + index));
  }
  count_ -= slots;
}

std::string to_string(const IntervalSet& set) {
  if (set.empty()) return "[]";
  std::string text;
  for (const Interval& interval : set.intervals()) {
    if (!text.empty()) text += ' ';
    text += '[' + std::to_string(interval.begin);
    if (interval.size() > 1) text += ".." + std::to_string(interval.end - 1);
    text += ']';
  }
  return text;
}

}  // namespace penstock::bytes
