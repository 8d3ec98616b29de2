#include "dataplane/engine/ranges/extent_table.h"

#include <algorithm>

#include "common/check.h"

namespace penstock::engine {
namespace {

using bytes::Interval;

// Tuning: how far a lane may lag before another takes some of its work. Less moves what would have come out even;
// more, and the faster lane waits for bytes that are not read yet, for the source is read in order.
constexpr std::uint64_t turns_behind_max = 2;

/// What is known of a lane's extents, those among them that it never heard it had.
ExtentState all_left(const ExtentMap& map, const ExtentState& left,
                     const std::vector<std::pair<std::uint64_t, ExtentState>>& inherited) {
  if (inherited.empty()) return left;
  bytes::IntervalSet settled;
  (void)settled.insert({0, left.settled_below});
  for (const Interval& part : left.settled) (void)settled.insert(part);
  for (const auto& [extent, state] : inherited) {
    (void)settled.erase(map.bytes_of(extent));
    for (const Interval& part : state.settled) (void)settled.insert(part);
  }
  ExtentState state;
  for (const Interval& part : settled.intervals()) {
    if (part.begin == 0)
      state.settled_below = part.end;
    else
      state.settled.push_back(part);
  }
  return state;
}

}  // namespace

ExtentTable::ExtentTable(std::size_t lanes) : map_(lanes), lanes_(lanes) {}

void ExtentTable::on_frontier(std::size_t lane, TransferOffset frontier) { lanes_[lane].frontier = frontier.value; }

std::optional<ExtentTable::Wish> ExtentTable::poll_wish() {
  if (map_.whole() || waiting_.size() >= extent_moves_waiting_max || !map_.has_room()) return std::nullopt;
  std::optional<std::size_t> slowest;
  std::optional<std::size_t> fastest;
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
    if (lanes_[lane].ending) continue;
    if (!slowest || lanes_[lane].frontier < lanes_[*slowest].frontier) slowest = lane;
    if (!fastest || lanes_[lane].frontier > lanes_[*fastest].frontier) fastest = lane;
  }
  LaneState& from = lanes_[*slowest];
  const std::uint64_t ahead = lanes_[*fastest].frontier - from.frontier;
  if (ahead < turns_behind_max * lanes_.size() * map_.extent_size()) return std::nullopt;
  if (from.asked || from.refused_at == from.frontier) return std::nullopt;
  from.asked = true;
  return Wish{.from = *slowest, .to = *fastest, .below = {lanes_[*fastest].frontier}};
}

std::vector<NumberedMove> ExtentTable::on_yielded(const Wish& wish, std::optional<std::uint64_t> extent,
                                                  ExtentState state) {
  LaneState& from = lanes_[wish.from];
  from.asked = false;
  if (!extent) {
    from.refused_at = from.frontier;
    return {};
  }
  std::vector<NumberedMove> told{tell({.from = wish.from, .to = wish.to, .extent = extent}, std::move(state))};
  // Its end came between: what it gives away is told already, and this is not among it.
  if (lanes_[wish.to].over) told.push_back(tell({.from = wish.to, .to = 0, .extent = extent}, {}));
  return told;
}

void ExtentTable::on_lane_ending(std::size_t lane) {
  PENSTOCK_CHECK(lane > 0 && !lanes_[lane].ending);
  lanes_[lane].ending = true;
}

NumberedMove ExtentTable::on_lane_over(std::size_t lane, const ExtentState& state) {
  PENSTOCK_CHECK(lanes_[lane].ending && !lanes_[lane].over);
  lanes_[lane].over = true;
  lanes_[lane].left = state;
  // What is on its way to the lane goes with the rest: the state is put together when the far end has admitted both.
  return tell({.from = lane, .to = 0, .extent = std::nullopt}, {});
}

NumberedMove ExtentTable::tell(const ExtentMove& move, ExtentState state) {
  PENSTOCK_CHECK(map_.apply(move));
  waiting_.push_back({.told = {.number = ++told_, .move = move}, .state = std::move(state)});
  return waiting_.back().told;
}

std::optional<ExtentTable::Admitted> ExtentTable::on_admitted(std::uint64_t number) {
  if (waiting_.empty() || waiting_.front().told.number != number) return std::nullopt;
  Admitted admitted{.move = waiting_.front().told.move, .state = std::move(waiting_.front().state)};
  waiting_.pop_front();
  LaneState& from = lanes_[admitted.move.from];
  if (!admitted.move.extent) {
    admitted.state = all_left(map_, from.left, from.inherited);
    from.left = {};
    from.inherited.clear();
  } else if (from.over && admitted.move.to == 0) {
    const auto found =
        std::ranges::find(from.inherited, *admitted.move.extent, &std::pair<std::uint64_t, ExtentState>::first);
    if (found != from.inherited.end()) {  // else the lane gave it away itself, while it lived
      admitted.state = std::move(found->second);
      from.inherited.erase(found);
    }
  }
  if (LaneState& to = lanes_[admitted.move.to]; to.ending && admitted.move.extent)
    to.inherited.emplace_back(*admitted.move.extent, admitted.state);
  return admitted;
}

bool ExtentDesk::on_move(const NumberedMove& move) {
  if (move.number != told_ + 1 || waiting_.size() >= extent_moves_waiting_max || !map_.apply(move.move)) return false;
  told_ = move.number;
  waiting_.push_back(move);
  return true;
}

std::optional<NumberedMove> ExtentDesk::poll() {
  if (busy_ || waiting_.empty()) return std::nullopt;
  const NumberedMove move = waiting_.front();
  waiting_.pop_front();
  busy_ = true;
  return move;
}

}  // namespace penstock::engine
