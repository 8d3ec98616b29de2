#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/random.h"
#include "common/units.h"
#include "dataplane/engine/fec/repair_layout.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/ranges/extent_map.h"
#include "dataplane/engine/wire/frames.h"

namespace penstock::engine {

/// Decides which bytes of its lane's extents leave next (of one lane, of the whole linear transfer space): lost ones
/// first, then new ones in order (or, as a test of the far end, shuffled within a window of shuffle_window_chunks).
/// Bytes that are settled (acknowledged, or withheld) are passed over. A range is cut anew each time to the datagram
/// size of the moment, and never across a slab boundary. New bytes obey the peer's credit; repeats need none. What
/// turns out not to be in memory is set aside until on_source_ready. What is offered, withheld and asked for again may
/// be said of all space: of others' extents it is remembered, in case they become this lane's. Cost: constant time a
/// chunk along a run, a binary search at its ends. Threads: one owner.
class RangeScheduler {
 public:
  RangeScheduler(ChunkOrder order, std::uint64_t initial_credit, Rng rng, const LanePlace& place = {});

  /// Space below `end` may be sent. Never shrinks.
  void offer(TransferOffset end);
  void withhold(TransferRange range);
  /// Repair: these bytes are sent again, acknowledged or not.
  void resend(TransferRange range);
  void on_acked(TransferRange range);
  void on_lost(TransferRange range);
  /// Credit only grows; what is below what we know already changes nothing.
  void on_credit(const CreditFrame& credit);
  void on_source_ready();

  // Leases (ranges/extent_table.h decides on them).
  struct Yielded {
    std::uint64_t extent = 0;
    ExtentState state;
  };
  /// Gives lane `to` the last extent of ours below `below` of which no byte was sent; nullopt: there is none.
  [[nodiscard]] std::optional<Yielded> yield(std::size_t to, TransferOffset below);
  /// What is known of all our extents, for who takes them over: this lane sends nothing any more.
  [[nodiscard]] ExtentState surrender() const;
  /// Extents become ours that were another lane's. Their bytes take credit, since ours has granted none for them.
  void adopt(const ExtentMove& move, const ExtentState& state);
  /// Another lane's extents go to a third one.
  void note(const ExtentMove& move) { (void)extents_.apply(move); }

  struct Chunk {
    TransferOffset at;
    std::uint64_t length;
    bool repeat;
  };
  /// The bytes to send next, `length_max` at most. nullopt: none may be sent now; see blocked_by.
  [[nodiscard]] std::optional<Chunk> next(std::uint64_t length_max);
  /// The first `length` bytes of the chunk that next() gave were sent.
  void on_sent(const Chunk& chunk, std::uint64_t length);
  /// The chunk is not in memory: it and its neighbours in the slab wait for on_source_ready. What should be fetched.
  TransferRange set_aside(const Chunk& chunk);

  /// FEC: from here on new bytes, and their repeats, are cut at the ends of symbols; nullopt: no more.
  void cut_on_grid(const std::optional<SymbolGrid>& grid);
  /// Of `within`, the first part that is not settled; empty: all is.
  [[nodiscard]] TransferRange first_unsettled_part(TransferRange within) const;
  /// Of `within`, the first part that is ours, was sent and is not settled; empty: there is none.
  [[nodiscard]] TransferRange first_outstanding_part(TransferRange within) const;
  /// Of `within`, what lies in the extent that it begins in; empty: that is another lane's. Of one lane, all of it.
  [[nodiscard]] TransferRange own_part(TransferRange within) const;
  /// Where the extent that `at` lies in ends; of one lane, the end of all space.
  [[nodiscard]] TransferOffset extent_end(TransferOffset at) const;
  /// All of ours below was sent, but for what was withheld, or adopted since.
  [[nodiscard]] TransferOffset sent_until() const { return {frontier_}; }

  enum class Blocked : std::uint8_t { nothing_to_send, source, receiver_credit };
  /// Why next() had nothing.
  [[nodiscard]] Blocked blocked_by() const;

  /// Not all of it is settled.
  [[nodiscard]] bool is_wanted(TransferRange range) const {
    return settled_.first_gap({range.begin.value, range.end.value}).has_value();
  }
  [[nodiscard]] TransferOffset oldest_unacknowledged() const;
  [[nodiscard]] TransferOffset frontier() const;
  /// Bytes that may still leave for the first time, at most; with siblings, about as many.
  [[nodiscard]] std::uint64_t ahead() const;
  /// Bytes from the oldest that is not acknowledged to the last that was sent; with siblings, about those of ours.
  [[nodiscard]] std::uint64_t reach_back() const;
  [[nodiscard]] TransferOffset offered() const { return {offered_}; }
  /// Bytes that are acknowledged or withheld. With siblings: that were acknowledged to this lane.
  [[nodiscard]] std::uint64_t settled() const { return extents_.whole() ? settled_.size() : delivered_; }
  /// All that was offered is settled, and nothing is to be repeated.
  [[nodiscard]] bool is_drained() const;

 private:
  [[nodiscard]] std::uint64_t cut(bytes::Interval part, std::uint64_t length_max) const;
  void stage_shuffled(std::uint64_t length_max);
  [[nodiscard]] std::optional<bytes::Interval> next_new_run();
  void advance(bytes::Interval sent);
  [[nodiscard]] std::uint64_t new_bytes_allowed() const { return credit_.credit - first_time_sent_; }
  /// Of our own bytes the first one from `from` on that is not settled; offered_ when all are.
  [[nodiscard]] std::uint64_t first_unsettled(std::uint64_t from) const;
  /// Others' bytes count as settled below our own first one that is not, so that the set stays a few intervals.
  void join_settled();
  void mark_lost(bytes::Interval part);

  ChunkOrder order_;
  std::size_t lane_;
  ExtentMap extents_;
  Rng rng_;
  CreditFrame credit_;
  std::uint64_t offered_ = 0;
  std::uint64_t frontier_ = 0;  // never sent from here on, but for what is staged
  std::optional<SymbolGrid> grid_;
  std::uint64_t cut_from_ = 0;         // on the grid
  std::uint64_t first_time_sent_ = 0;  // bytes that took credit
  bytes::Interval run_;                // unsettled new bytes from the frontier on, as far as known
  bytes::IntervalSet settled_;
  bytes::IntervalSet withheld_;    // with siblings: of all space
  std::uint64_t delivered_ = 0;    // likewise: bytes that acknowledgements settled
  std::uint64_t joined_ = 0;       // likewise: others' bytes below it may count as settled
  bytes::IntervalSet late_;        // never sent and behind the frontier: adopted
  bytes::IntervalSet lost_;        // to be sent again
  bytes::IntervalSet uncredited_;  // beyond the frontier: withheld once, to be repaired now
  bytes::IntervalSet waiting_;     // of those, the ones that are not in memory
  bool frontier_waits_ = false;
  std::vector<bytes::Interval> staged_;        // shuffled order: new chunks that have their credit, last one next
  std::vector<bytes::Interval> staged_aside_;  // of those, the ones that are not in memory
};

inline constexpr std::size_t shuffle_window_chunks = 2048;

}  // namespace penstock::engine
