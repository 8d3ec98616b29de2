#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

#include "common/time.h"
#include "common/units.h"

namespace penstock::io {

/// Makes the connection ids of a daemon's lanes, and with each decides which worker is to have the lane: the one with
/// the least to do. What counts is lanes, and ids given out within `fresh_max`, whose lanes may be about to come; among
/// equals the worker with fewer ids in all, then the first.
/// Pure; memory: what is reserved. Threads: one owner.
class LanePlacement {
 public:
  // PROTOCOL section 1 gives a client 10 s to its proof; who asks for no transfer right after it is idle.
  static constexpr Duration fresh_max = std::chrono::seconds{10};

  /// `random` gives 64 unpredictable bits. Requires: 1 <= workers <= 256.
  LanePlacement(std::size_t workers, std::function<std::uint64_t()> random);

  /// A new id, unique among those that are reserved. `now` never decreases.
  [[nodiscard]] ConnectionId reserve(TimePoint now);
  /// The lane of this id is there. Requires: reserved. More than once is harmless.
  void on_lane(ConnectionId id);
  /// The id is free again, its lane gone; one that is not reserved is passed over.
  void release(ConnectionId id);

  [[nodiscard]] std::size_t worker_of(ConnectionId id) const;
  [[nodiscard]] std::size_t reserved() const { return ids_.size(); }
  [[nodiscard]] std::size_t lanes_of(std::size_t worker) const { return loads_[worker].lanes; }

 private:
  enum class Standing : std::uint8_t { fresh, idle, lane };
  struct Load {
    std::size_t lanes = 0;
    std::size_t fresh = 0;
    std::size_t ids = 0;
  };
  struct Reserved {
    Standing standing = Standing::fresh;
    std::uint64_t number = 0;  // tells a fresh id from an earlier one of the same value
  };
  struct Fresh {
    TimePoint until;
    ConnectionId id;
    std::uint64_t number = 0;
  };
  void age(TimePoint now);
  [[nodiscard]] std::size_t least_loaded() const;

  std::function<std::uint64_t()> random_;
  std::vector<Load> loads_;
  std::unordered_map<std::uint64_t, Reserved> ids_;
  std::deque<Fresh> fresh_;  // oldest first; entries of ids that have a lane, or are gone, are skipped
  std::uint64_t numbered_ = 0;
};

}  // namespace penstock::io
