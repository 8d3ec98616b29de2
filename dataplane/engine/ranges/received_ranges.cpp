#include "dataplane/engine/ranges/received_ranges.h"

#include <algorithm>

#include "common/check.h"

namespace penstock::engine {

using bytes::Interval;

ReceivedRanges::ReceivedRanges(std::uint64_t initial_credit)
    : initial_credit_(initial_credit), granted_(initial_credit) {}

void ReceivedRanges::expect(TransferOffset end) {
  PENSTOCK_CHECK(end.value >= expected_ && end.value <= transfer_space_max);
  expected_ = end.value;
}

void ReceivedRanges::withhold(TransferRange range) {
  Interval part = as_interval(range);
  ++withheld_pieces_;
  (void)forgotten_.erase(part);
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
