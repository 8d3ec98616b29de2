#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/units.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/ranges/extent_map.h"
#include "dataplane/engine/wire/frames.h"

namespace penstock::engine {

/// Holes in what arrived, beyond those that withholding makes; a datagram that would need one more is refused.
inline constexpr std::size_t received_holes_max = std::size_t{1} << 16;

/// Which bytes of this lane's extents (of one lane, of all transfer space) are here, and how many new ones the sender
/// may send. What is expected, withheld and forgotten may be said of all space.
/// Credit is a running count: the bytes that came for the first time, in any order, and the room of the sink; it never
/// shrinks, and never passes the manifest (but for the agreed initial credit, which may arrive before it). Bytes to be
/// repaired are not counted again. Threads: one owner.
class ReceivedRanges {
 public:
  explicit ReceivedRanges(std::uint64_t initial_credit, const LanePlace& place = {});

  void expect(TransferOffset end);
  void withhold(TransferRange range);
  void forget(TransferRange range);
  [[nodiscard]] TransferOffset expected() const { return {expected_}; }
  /// Bytes that are here or withheld. With siblings: that came by this lane.
  [[nodiscard]] std::uint64_t settled() const { return extents_.whole() ? here_.size() : delivered_; }
  /// At most so many bytes are still to come, or (with siblings) about so many for each lane.
  [[nodiscard]] bool is_nearly_complete(std::uint64_t bytes) const;

  // Leases. A lane that gives extents up says what it knows of them; DATA in them is no longer its own.
  [[nodiscard]] bool owns(TransferRange range) const {
    return extents_.whole() || extents_.owner_of(extents_.extent_of(range.begin.value)) == lane_;
  }
  /// nullopt: they are not ours to give.
  [[nodiscard]] std::optional<ExtentState> give_up(const ExtentMove& move);
  /// False: nonsense, or too many moves; nothing changed.
  [[nodiscard]] bool adopt(const ExtentMove& move, const ExtentState& state);
  /// Another lane's extents go to a third one.
  void note(const ExtentMove& move) { (void)extents_.apply(move); }

  /// No byte of it is here.
  [[nodiscard]] bool is_wholly_new(TransferRange range) const { return !here_.intersects(as_interval(range)); }
  /// What is here or withheld, the first `ranges_max` ranges of it. With siblings: of our extents.
  [[nodiscard]] std::vector<TransferRange> arrived(std::size_t ranges_max) const;
  /// The first part of `within` that is not here; empty when all is. Loop by moving its begin to the part's end.
  [[nodiscard]] TransferRange first_missing(TransferRange within) const;
  /// All of it lies in one extent, of ours. Of one lane: always.
  [[nodiscard]] bool owns_in_one_extent(TransferRange range) const {
    return extents_.whole() ||
           (owns(range) && extents_.extent_of(range.begin.value) == extents_.extent_of(range.end.value - 1));
  }
  /// The run of bytes around `at` that are here; nullopt: that one is not. With siblings: inside its extent, if ours.
  [[nodiscard]] std::optional<TransferRange> held_around(TransferOffset at) const;
  /// The sender may have sent this: it lies within the manifest or the initial credit, and does not exceed the credit.
  [[nodiscard]] bool is_permitted(TransferRange range) const;
  /// False: too many holes; nothing changed.
  [[nodiscard]] bool accept(TransferRange range);
  /// Bytes came that are here already: withheld ones that the sender did not know of take credit, and give it back.
  void on_duplicate(TransferRange range);

  /// Asked for each datagram: the count decides in nearly all cases.
  [[nodiscard]] bool is_complete() const {
    if (!extents_.whole()) return first_own_missing() >= expected_;
    return here_.size() >= expected_ && here_.first_missing(0).value_or(expected_) >= expected_;
  }
  /// What may be told to the sender, now that the sink has room for so many bytes more.
  [[nodiscard]] CreditFrame credit(std::uint64_t room) const;
  /// That was told.
  void on_credit_granted(const CreditFrame& credit) { granted_ = credit.credit; }
  [[nodiscard]] std::uint64_t granted() const { return granted_; }
  /// Bytes that took credit, so far.
  [[nodiscard]] std::uint64_t first_time_received() const { return first_time_; }

 private:
  static bytes::Interval as_interval(TransferRange range) { return {range.begin.value, range.end.value}; }
  [[nodiscard]] std::uint64_t offset_limit() const;
  [[nodiscard]] std::uint64_t first_own_missing() const;

  std::size_t lane_;
  ExtentMap extents_;
  std::uint64_t initial_credit_;
  std::uint64_t expected_ = 0;
  std::uint64_t granted_;
  std::uint64_t first_time_ = 0;
  std::size_t withheld_pieces_ = 0;
  bytes::IntervalSet here_;       // arrived or withheld
  bytes::IntervalSet withheld_;   // of those, withheld and never seen
  bytes::IntervalSet forgotten_;  // not here, and to come without credit
  bytes::IntervalSet unwanted_;   // with siblings: withheld, of all space
  std::uint64_t delivered_ = 0;   // likewise: bytes accepted
  std::uint64_t joined_ = 0;      // likewise: others' bytes below it may count as here
};

}  // namespace penstock::engine
