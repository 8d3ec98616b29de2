#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/units.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::engine {

// Specification: both ends cut transfer space alike. Small enough that a turn of all lanes is in memory at once, for
// the source is read in order; large enough that blocks of files which begin somewhere in a slab are mostly one lane's.
constexpr std::uint64_t extent_bytes(std::size_t lanes) {
  return lanes <= 4 ? 4 * slab_size : lanes <= 8 ? 2 * slab_size : slab_size;
}
/// Extents moved one by one in the life of a transfer: 16 bytes each. Beyond it nothing is balanced any more.
inline constexpr std::size_t extents_moved_max = std::size_t{1} << 16;

/// From now on an extent of lane `from` is lane `to`'s; without `extent` all that it has and would have.
struct ExtentMove {
  std::size_t from = 0;
  std::size_t to = 0;
  std::optional<std::uint64_t> extent = std::nullopt;
  auto operator<=>(const ExtentMove&) const = default;
};

/// Which lane sends which bytes: extent k is slot k mod N's, slot i lane i's, until moves say otherwise. A value: the
/// homes and every lane have their own, and hear of each move in their turn (dataplane/README.md, "More cores").
/// One lane has everything, at no cost. Cost: a binary search among the extents moved. Threads: one owner.
class ExtentMap {
 public:
  /// Requires: 1 <= lanes <= 256.
  explicit ExtentMap(std::size_t lanes = 1);

  [[nodiscard]] std::size_t lanes() const { return slots_.size(); }
  /// There is but one lane.
  [[nodiscard]] bool whole() const { return slots_.size() == 1; }
  [[nodiscard]] std::uint64_t extent_size() const { return extent_size_; }
  [[nodiscard]] std::uint64_t extent_of(std::uint64_t offset) const { return offset / extent_size_; }
  [[nodiscard]] bytes::Interval bytes_of(std::uint64_t extent) const {
    return {extent * extent_size_, (extent + 1) * extent_size_};
  }
  [[nodiscard]] std::size_t owner_of(std::uint64_t extent) const;
  /// Of so many of each turn's extents, as many as there are lanes, it is the owner, but for those moved one by one.
  [[nodiscard]] std::size_t slots_of(std::size_t lane) const;
  /// The first bytes of `lane` inside `within`, up to the end of an extent; nullopt: it has none there.
  [[nodiscard]] std::optional<bytes::Interval> first_run(std::size_t lane, bytes::Interval within) const;

  /// The bytes inside `within` that `move` would move.
  [[nodiscard]] std::vector<bytes::Interval> moved_by(const ExtentMove& move, bytes::Interval within) const;

  /// False: no such lanes, the extent is not `from`'s, or the bound; nothing has changed.
  [[nodiscard]] bool apply(const ExtentMove& move);
  /// Another move of one extent would be accepted.
  [[nodiscard]] bool has_room() const { return moved_.size() < extents_moved_max; }

 private:
  using Moved = std::pair<std::uint64_t, std::uint8_t>;  // extent, lane
  [[nodiscard]] std::vector<Moved>::const_iterator first_moved(std::uint64_t from) const;

  std::uint64_t extent_size_;
  std::vector<std::uint8_t> slots_;  // lane of each
  std::vector<Moved> moved_;         // ascending
};

/// What a lane that gives extents away knows of them.
struct ExtentState {
  std::uint64_t settled_below = 0;       // all of them below it is settled
  std::vector<bytes::Interval> settled;  // beyond it; may reach into extents of others, where it means nothing
};

/// Puts into `set` what `from` has inside `within`.
void insert_overlap(bytes::IntervalSet& set, const bytes::IntervalSet& from, bytes::Interval within);

}  // namespace penstock::engine
