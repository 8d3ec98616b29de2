#include "dataplane/engine/ranges/range_scheduler.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace penstock::engine {
namespace {

using bytes::Interval;

constexpr std::uint64_t slab_end_of(std::uint64_t at) { return (at / slab_size + 1) * slab_size; }
Interval interval_of(TransferRange range) { return {range.begin.value, range.end.value}; }

}  // namespace

RangeScheduler::RangeScheduler(ChunkOrder order, std::uint64_t initial_credit, Rng rng, const LanePlace& place)
    : order_(order),
      lane_(place.lane),
      extents_(place.lanes),
      rng_(std::move(rng)),
      credit_{initial_credit, {initial_credit}} {}

void RangeScheduler::offer(TransferOffset end) {
  PENSTOCK_CHECK(end.value >= offered_ && end.value <= transfer_space_max);
  offered_ = end.value;
  run_ = {};
}

void RangeScheduler::withhold(TransferRange range) {
  const Interval part = interval_of(range);
  (void)settled_.insert(part);
  (void)lost_.erase(part);
  (void)waiting_.erase(part);
  run_ = {};
  if (extents_.whole()) return;
  (void)withheld_.insert(part);
  (void)late_.erase(part);
}

void RangeScheduler::resend(TransferRange range) {
  const Interval part = interval_of(range);
  // What was withheld beyond the frontier is new to us, but the receiver takes it for a repeat: no credit for either.
  Interval beyond{std::max(part.begin, frontier_), std::max(part.end, frontier_)};
  while (const auto withheld = settled_.first_overlap(beyond)) {
    (void)uncredited_.insert(*withheld);
    beyond.begin = withheld->end;
  }
  if (!extents_.whole()) delivered_ -= std::min(delivered_, settled_.count_in(part));
  (void)settled_.erase(part);
  (void)withheld_.erase(part);
  (void)waiting_.erase(part);
  run_ = {};
  if (part.begin >= frontier_) return;
  mark_lost({part.begin, std::min(part.end, frontier_)});
  for (const auto* staged : {&staged_, &staged_aside_})  // these leave in any case
    for (const Interval& chunk : *staged)
      if (chunk.begin < part.end && part.begin < chunk.end) (void)lost_.erase(chunk);
  for (const Interval& adopted : late_.intervals()) (void)lost_.erase(adopted);
}

void RangeScheduler::mark_lost(Interval part) {
  while (const auto own = extents_.first_run(lane_, part)) {
    (void)lost_.insert(*own);
    part.begin = own->end;
  }
}

void RangeScheduler::on_acked(TransferRange range) {
  const Interval part = interval_of(range);
  const std::uint64_t added = settled_.insert(part).count;
  if (!lost_.empty()) (void)lost_.erase(part);
  if (!waiting_.empty()) (void)waiting_.erase(part);
  if (extents_.whole()) return;
  if (!late_.empty()) (void)late_.erase(part);  // the far end has it from the lane whose it was
  delivered_ += added;
  join_settled();
}

std::uint64_t RangeScheduler::first_unsettled(std::uint64_t from) const {
  for (;;) {
    from = std::min(settled_.first_missing(from).value_or(offered_), offered_);
    const auto own = extents_.first_run(lane_, {from, offered_});
    if (!own) return offered_;
    if (own->begin == from) return from;
    from = own->begin;
  }
}

void RangeScheduler::join_settled() {
  const std::uint64_t first = first_unsettled(0);
  (void)settled_.insert({0, first});
  joined_ = std::max(joined_, first);
}

// --- leases ---------------------------------------------------------------------------------------------------------

std::optional<RangeScheduler::Yielded> RangeScheduler::yield(std::size_t to, TransferOffset below) {
  const std::uint64_t first = (frontier_ + extents_.extent_size() - 1) / extents_.extent_size();
  for (std::uint64_t extent = extents_.extent_of(std::min(below.value, offered_)); extent-- > first;) {
    if (!extents_.apply({.from = lane_, .to = to, .extent = extent})) continue;
    Yielded yielded{.extent = extent, .state = {.settled_below = extents_.bytes_of(extent).begin, .settled = {}}};
    Interval rest = extents_.bytes_of(extent);
    while (const auto known = settled_.first_overlap(rest)) {
      yielded.state.settled.push_back(*known);
      rest.begin = known->end;
    }
    run_ = {};
    frontier_waits_ = false;  // perhaps for these very bytes, which will not come here now
    return yielded;
  }
  return std::nullopt;
}

ExtentState RangeScheduler::surrender() const {
  ExtentState state{.settled_below = first_unsettled(0), .settled = {}};
  for (const Interval& part : settled_.intervals())
    if (part.end > state.settled_below) state.settled.push_back(part);
  return state;
}

void RangeScheduler::adopt(const ExtentMove& move, const ExtentState& state) {
  // Behind the frontier, and where others' bytes count as settled, what was not ours is unknown territory.
  const std::uint64_t known_end = std::max({state.settled_below, frontier_, joined_});
  const auto gained = extents_.moved_by(move, {state.settled_below, known_end});
  std::vector<Interval> settled = extents_.moved_by(move, {0, state.settled_below});
  for (const Interval& part : state.settled)
    for (const Interval& run : extents_.moved_by(move, part)) settled.push_back(run);
  PENSTOCK_CHECK(move.to == lane_ && extents_.apply(move));
  run_ = {};
  frontier_waits_ = false;  // what lies behind it must be asked for first: it is read in order
  for (const Interval& run : gained) {
    (void)settled_.erase(run);
    insert_overlap(settled_, withheld_, run);
  }
  for (const Interval& part : settled) (void)settled_.insert(part);
  for (const Interval& run : gained) {
    for (Interval rest{run.begin, std::min(run.end, frontier_)}; rest.begin < rest.end;) {
      const auto gap = settled_.first_gap(rest);
      if (!gap) break;
      (void)late_.insert(*gap);
      rest.begin = gap->end;
    }
  }
}

void RangeScheduler::on_lost(TransferRange range) {
  Interval part = interval_of(range);
  while (part.begin < part.end) {
    const auto gap = settled_.first_gap(part);
    if (!gap) return;
    (void)lost_.insert(*gap);
    part.begin = gap->end;
  }
}

void RangeScheduler::on_credit(const CreditFrame& credit) {
  credit_.credit = std::max(credit_.credit, credit.credit);
  credit_.offset_limit = std::max(credit_.offset_limit, credit.offset_limit);
}

void RangeScheduler::on_source_ready() {
  frontier_waits_ = false;
  for (const Interval& part : waiting_.intervals()) (void)lost_.insert(part);
  waiting_.clear();
  // Back to the end that is taken from.
  staged_.insert(staged_.end(), staged_aside_.begin(), staged_aside_.end());
  staged_aside_.clear();
}

std::optional<RangeScheduler::Chunk> RangeScheduler::next(std::uint64_t length_max) {
  if (!lost_.empty()) {
    const Interval part = lost_.front();
    return Chunk{{part.begin}, cut(part, length_max) - part.begin, true};
  }
  if (order_ == ChunkOrder::shuffled) {
    if (staged_.empty() && staged_aside_.size() < shuffle_window_chunks) stage_shuffled(length_max);
    while (!staged_.empty()) {
      const Interval chunk = staged_.back();
      const auto gap = settled_.first_gap(chunk);  // it may have been withheld meanwhile
      if (gap) return Chunk{{gap->begin}, std::min(gap->end - gap->begin, length_max), false};
      staged_.pop_back();
    }
    return std::nullopt;
  }
  if (frontier_waits_) return std::nullopt;
  const auto run = next_new_run();
  if (!run) return std::nullopt;
  return Chunk{{run->begin}, cut(*run, length_max) - run->begin, false};
}

/// Where one datagram's bytes from the begin of `part` on end.
std::uint64_t RangeScheduler::cut(Interval part, std::uint64_t length_max) const {
  std::uint64_t end = std::min({part.end, part.begin + length_max, slab_end_of(part.begin)});
  if (grid_ && part.begin >= cut_from_) end = std::min(end, grid_->end_of(grid_->symbol_at(part.begin)));
  return end;
}

void RangeScheduler::cut_on_grid(const std::optional<SymbolGrid>& grid) {
  if (grid.has_value() == grid_.has_value() && (!grid || grid->size() == grid_->size())) return;
  grid_ = grid;
  cut_from_ = frontier_;
}

TransferRange RangeScheduler::first_unsettled_part(TransferRange within) const {
  const auto gap = settled_.first_gap(interval_of(within));
  if (!gap) return {within.end, within.end};
  return {{gap->begin}, {gap->end}};
}

TransferRange RangeScheduler::first_outstanding_part(TransferRange within) const {
  Interval rest{within.begin.value, std::min(within.end.value, frontier_)};
  while (rest.begin < rest.end) {
    const auto own = extents_.first_run(lane_, rest);
    if (!own) break;
    auto gap = settled_.first_gap(*own);
    if (!gap) {
      rest.begin = own->end;
      continue;
    }
    if (const auto late = late_.empty() ? std::nullopt : late_.first_overlap(*gap)) {
      if (late->begin == gap->begin) {
        rest.begin = late->end;
        continue;
      }
      gap->end = late->begin;
    }
    return {{gap->begin}, {gap->end}};
  }
  return {within.end, within.end};
}

TransferRange RangeScheduler::own_part(TransferRange within) const {
  if (extents_.whole() || within.empty()) return within;
  if (extents_.owner_of(extents_.extent_of(within.begin.value)) != lane_) return {within.begin, within.begin};
  return {within.begin, std::min(within.end, extent_end(within.begin))};
}

TransferOffset RangeScheduler::extent_end(TransferOffset at) const {
  if (extents_.whole()) return {transfer_space_max};
  return {extents_.bytes_of(extents_.extent_of(at.value)).end};
}

std::uint64_t RangeScheduler::ahead() const {
  const std::uint64_t all = offered_ - frontier_;
  if (extents_.whole()) return all;
  return std::min(all, all / extents_.lanes() * extents_.slots_of(lane_) + extents_.extent_size()) + late_.size();
}

std::uint64_t RangeScheduler::reach_back() const {
  const std::uint64_t oldest = first_unsettled(0);
  if (oldest >= frontier_) return 0;
  if (extents_.whole()) return frontier_ - oldest;
  return (frontier_ - oldest) / extents_.lanes() * std::max<std::size_t>(extents_.slots_of(lane_), 1);
}

/// The unsettled new bytes at the frontier that credit covers.
std::optional<Interval> RangeScheduler::next_new_run() {
  if (!late_.empty()) {
    const Interval part = late_.front();
    const std::uint64_t limit =
        std::min({part.end, credit_.offset_limit.value, part.begin + new_bytes_allowed(), slab_end_of(part.begin)});
    if (limit <= part.begin) return std::nullopt;
    return Interval{part.begin, limit};
  }
  if (run_.begin != frontier_ || run_.empty()) {
    const std::uint64_t begin = std::max(frontier_, first_unsettled(frontier_));
    if (begin >= offered_) {
      frontier_ = std::max(frontier_, offered_);
      return std::nullopt;
    }
    run_ = *extents_.first_run(lane_, *settled_.first_gap({begin, offered_}));
    frontier_ = begin;
  }
  std::uint64_t limit = std::min({run_.end, credit_.offset_limit.value, run_.begin + new_bytes_allowed()});
  if (!uncredited_.empty()) {
    if (const auto free = uncredited_.first_overlap(run_))
      limit = free->begin == run_.begin ? free->end : std::min(limit, free->begin);
  }
  if (limit <= run_.begin) return std::nullopt;
  return Interval{run_.begin, limit};
}

void RangeScheduler::on_sent(const Chunk& chunk, std::uint64_t length) {
  const Interval part{chunk.at.value, chunk.at.value + length};
  if (chunk.repeat) {
    (void)lost_.erase(part);
    return;
  }
  if (order_ == ChunkOrder::shuffled) {
    staged_.back().begin = part.end;
    if (staged_.back().empty()) staged_.pop_back();
    return;
  }
  advance(part);
}

void RangeScheduler::advance(Interval sent) {
  if (sent.begin < frontier_) {
    first_time_sent_ += late_.erase(sent).count;
    return;
  }
  if (uncredited_.empty() || uncredited_.erase(sent).count == 0) first_time_sent_ += sent.size();
  frontier_ = sent.end;
  run_.begin = sent.end;
}

TransferRange RangeScheduler::set_aside(const Chunk& chunk) {
  if (chunk.repeat) {
    // All of the lost range in this slab: if one datagram of it is not there, its neighbours are not either.
    Interval part = lost_.front();
    part.end = std::min(part.end, slab_end_of(part.begin));
    (void)lost_.erase(part);
    (void)waiting_.insert(part);
    return {{part.begin}, {part.end}};
  }
  if (order_ == ChunkOrder::shuffled) {
    staged_aside_.push_back(staged_.back());
    staged_.pop_back();
    return {chunk.at, chunk.at + chunk.length};
  }
  frontier_waits_ = true;
  return {chunk.at, {std::min(offered_, slab_end_of(chunk.at.value))}};
}

void RangeScheduler::stage_shuffled(std::uint64_t length_max) {
  while (staged_.size() < shuffle_window_chunks) {
    const auto run = next_new_run();
    if (!run) break;
    const Interval chunk{run->begin, cut(*run, length_max)};
    advance(chunk);
    staged_.push_back(chunk);
  }
  for (std::size_t left = staged_.size(); left > 1; --left) std::swap(staged_[left - 1], staged_[rng_.below(left)]);
}

RangeScheduler::Blocked RangeScheduler::blocked_by() const {
  if (!waiting_.empty() || frontier_waits_ || !staged_aside_.empty()) return Blocked::source;
  if (!late_.empty() || first_unsettled(frontier_) < offered_) return Blocked::receiver_credit;
  return Blocked::nothing_to_send;
}

TransferOffset RangeScheduler::oldest_unacknowledged() const { return {first_unsettled(0)}; }

TransferOffset RangeScheduler::frontier() const {
  std::uint64_t lowest = frontier_;
  if (!extents_.whole()) {
    // Where others' bytes lie in between, ours begin behind them.
    lowest = std::min(lowest, late_.empty() ? lowest : late_.front().begin);
    if (late_.empty()) lowest = std::max(lowest, first_unsettled(lowest));
  }
  for (const auto* staged : {&staged_, &staged_aside_})
    for (const Interval& chunk : *staged) lowest = std::min(lowest, chunk.begin);
  return {lowest};
}

bool RangeScheduler::is_drained() const { return lost_.empty() && waiting_.empty() && first_unsettled(0) >= offered_; }

}  // namespace penstock::engine
