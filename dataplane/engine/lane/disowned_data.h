#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "common/units.h"

namespace penstock::engine {

/// Which bytes of packets on their way count no more, since they were asked for anew: for each run of transfer space,
/// the packet number below which copies of it say nothing. A list of thousands of ranges costs a tree look-up each
/// instead of a walk through the ledger, and a packet pays for its look-up only while the list lives.
/// Cost: O(log entries) a range, amortised; each range adds two entries at most. Bound: owners clear it when it is
/// full. Threads: one owner.
class DisownedData {
 public:
  /// Entries of about 64 bytes. Beyond, `full` asks for the walk through the ledger, which then comes once in so many
  /// ranges.
  static constexpr std::size_t entries_max = 32768;

  /// Copies of `range` in packets numbered below `below` say nothing. Requires: `below` never shrinks.
  void disown(TransferRange range, std::uint64_t below);
  /// No packet below `first` is of interest any more.
  void forget_below(std::uint64_t first);
  void clear() { entries_.clear(); }

  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] bool full() const { return entries_.size() >= entries_max; }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

  /// Packet `number` carried some byte there that counts no more.
  [[nodiscard]] bool touches(std::uint64_t number, std::uint64_t offset, std::uint64_t length) const {
    std::uint64_t owned = 0;
    for_each_owned(number, offset, length, [&](std::uint64_t, std::uint64_t bytes) { owned += bytes; });
    return owned != length;
  }
  /// Calls `visit(offset, length)` for each part that still counts, in ascending order.
  template <class Visit>
  void for_each_owned(std::uint64_t number, std::uint64_t offset, std::uint64_t length, Visit visit) const {
    std::uint64_t at = offset;
    const std::uint64_t end = offset + length;
    for (auto entry = first_ending_after(at); entry != entries_.end() && entry->first < end; ++entry) {
      if (number >= entry->second.below) continue;
      if (entry->first > at) visit(at, entry->first - at);
      at = entry->second.end;
    }
    if (at < end) visit(at, end - at);
  }

 private:
  struct Entry {
    std::uint64_t end;
    std::uint64_t below;
  };
  using Entries = std::map<std::uint64_t, Entry>;  // by begin; they do not overlap

  [[nodiscard]] Entries::const_iterator first_ending_after(std::uint64_t at) const;

  Entries entries_;
  std::uint64_t newest_below_ = 0;
};

}  // namespace penstock::engine
