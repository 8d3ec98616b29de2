#pragma once

#include <cstddef>
#include <cstdint>

#include "common/bytes/interval_set.h"
#include "common/units.h"
#include "dataplane/engine/wire/frames.h"

namespace penstock::engine {

/// Holes in what arrived, beyond those that withholding makes; a datagram that would need one more is refused.
inline constexpr std::size_t received_holes_max = std::size_t{1} << 16;

/// Which bytes of transfer space are here, and how many new ones the sender may send.
/// Credit is a running count: the bytes that came for the first time, in any order, and the room of the sink; it never
/// shrinks, and never passes the manifest (but for the agreed initial credit, which may arrive before it). Bytes to be
/// repaired are not counted again. Threads: one owner.
class ReceivedRanges {
 public:
  explicit ReceivedRanges(std::uint64_t initial_credit);

  void expect(TransferOffset end);
  void withhold(TransferRange range);
  void forget(TransferRange range);
  [[nodiscard]] TransferOffset expected() const { return {expected_}; }
  /// Bytes that are here or withheld.
  [[nodiscard]] std::uint64_t settled() const { return here_.size(); }

  /// No byte of it is here.
  [[nodiscard]] bool is_wholly_new(TransferRange range) const { return !here_.intersects(as_interval(range)); }
  /// The first part of `within` that is not here; empty when all is. Loop by moving its begin to the part's end.
  [[nodiscard]] TransferRange first_missing(TransferRange within) const;
  /// The sender may have sent this: it lies within the manifest or the initial credit, and does not exceed the credit.
  [[nodiscard]] bool is_permitted(TransferRange range) const;
  /// False: too many holes; nothing changed.
  [[nodiscard]] bool accept(TransferRange range);
  /// Bytes came that are here already: withheld ones that the sender did not know of take credit, and give it back.
  void on_duplicate(TransferRange range);

  /// Asked for each datagram: the count decides in nearly all cases.
  [[nodiscard]] bool is_complete() const {
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

  std::uint64_t initial_credit_;
  std::uint64_t expected_ = 0;
  std::uint64_t granted_;
  std::uint64_t first_time_ = 0;
  std::size_t withheld_pieces_ = 0;
  bytes::IntervalSet here_;       // arrived or withheld
  bytes::IntervalSet withheld_;   // of those, withheld and never seen
  bytes::IntervalSet forgotten_;  // not here, and to come without credit
};

}  // namespace penstock::engine
