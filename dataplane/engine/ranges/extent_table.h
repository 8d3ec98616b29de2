#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "common/units.h"
#include "dataplane/engine/ranges/extent_map.h"

namespace penstock::engine {

/// Moves that the far end was told of and has not answered. More would let it do nothing else.
inline constexpr std::size_t extent_moves_waiting_max = 64;

/// A move as the far end is told of it, and says that it has admitted it.
struct NumberedMove {
  std::uint64_t number = 0;  // from 1 on
  ExtentMove move;
};

/// The sending home's book of leases: which lane has which extents, which moves are under way, which lanes are over.
///   lane --yields an extent, or is over--> told --the far end answers--> adopted
/// In between the extents are nobody's, and nothing of them is sent; so no byte is ever two lanes' business. Answers
/// come in the order of the moves. Lane 0 inherits what lanes that are over have, or get later. Pure. Threads: one
/// owner.
class ExtentTable {
 public:
  explicit ExtentTable(std::size_t lanes);

  /// So far lane `lane` has sent: its next new byte, or the end of what was offered.
  void on_frontier(std::size_t lane, TransferOffset frontier);
  /// A lane that is two turns behind another should yield an extent to it: ask it to, with these words. One such wish
  /// at a time of a lane, until on_yielded, or (it had none) until its frontier has moved.
  struct Wish {
    std::size_t from = 0;
    std::size_t to = 0;
    TransferOffset below;
  };
  [[nodiscard]] std::optional<Wish> poll_wish();
  /// The answer. What the far end is to be told: nothing if it had none; two moves if the lane that was to get it is
  /// over.
  [[nodiscard]] std::vector<NumberedMove> on_yielded(const Wish& wish, std::optional<std::uint64_t> extent,
                                                     ExtentState state);
  /// The lane is asked for what it has: from now on it adopts nothing. Requires: lane > 0, and not said before.
  void on_lane_ending(std::size_t lane);
  /// It is over, with what is known of its extents. Requires: on_lane_ending, and not said before.
  [[nodiscard]] NumberedMove on_lane_over(std::size_t lane, const ExtentState& state);
  [[nodiscard]] bool is_over(std::size_t lane) const { return lanes_[lane].ending; }

  /// The far end has admitted the oldest move that waits. Its new owner is to adopt it, all others but the old one to
  /// note it; a new owner that is over is passed over, for its end moves it on. nullopt: no such move, nonsense.
  struct Admitted {
    ExtentMove move;
    ExtentState state;
  };
  [[nodiscard]] std::optional<Admitted> on_admitted(std::uint64_t number);
  /// Extents are nobody's at the moment.
  [[nodiscard]] bool is_moving() const { return !waiting_.empty(); }

 private:
  struct LaneState {
    std::uint64_t frontier = 0;
    std::optional<std::uint64_t> refused_at;  // it had nothing to yield, its frontier being there
    bool asked = false;
    bool ending = false;
    bool over = false;                                             // and its move is told
    ExtentState left;                                              // of a lane that is over
    std::vector<std::pair<std::uint64_t, ExtentState>> inherited;  // extents that it would have got since
  };
  struct Waiting {
    NumberedMove told;
    ExtentState state;
  };
  NumberedMove tell(const ExtentMove& move, ExtentState state);

  ExtentMap map_;
  std::vector<LaneState> lanes_;
  std::deque<Waiting> waiting_;
  std::uint64_t told_ = 0;
};

/// The receiving home's desk, where moves are admitted one after another: the old lane gives up, then the new one
/// adopts, then the sender is answered. The peer's word is judged here. Pure. Threads: one owner.
class ExtentDesk {
 public:
  explicit ExtentDesk(std::size_t lanes) : map_(lanes) {}

  /// False: out of order, too many at once, or of extents that the lane does not have: the peer broke the protocol.
  [[nodiscard]] bool on_move(const NumberedMove& move);
  /// The move to carry out now; nullopt: none, or one is being carried out.
  [[nodiscard]] std::optional<NumberedMove> poll();
  /// It was.
  void on_done() { busy_ = false; }
  [[nodiscard]] bool is_moving() const { return busy_ || !waiting_.empty(); }

 private:
  ExtentMap map_;
  std::deque<NumberedMove> waiting_;
  std::uint64_t told_ = 0;
  bool busy_ = false;
};

}  // namespace penstock::engine
