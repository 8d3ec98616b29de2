#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "common/digest/xxh3.h"

namespace penstock::storage {

/// Digests that came before the first byte of their file. They come and go nearly in order, so they are kept as a row:
/// about 40 bytes each, where a million small files may be on the way. Bound: `digests_max`; what comes beyond is
/// forgotten, and its blocks are repaired like any whose digest never came. Threads: one owner.
class EarlyDigests {
 public:
  explicit EarlyDigests(std::size_t digests_max) : digests_max_(digests_max) {}

  void put(std::uint64_t index, std::uint64_t block, const digest::Xxh3& digest) {
    if (row_.size() >= digests_max_) {
      std::erase_if(row_, [](const Early& early) { return early.taken; });
      if (row_.size() >= digests_max_) return;
    }
    const Early fresh{.index = index, .block = block, .digest = digest};
    if (row_.empty() || before(row_.back(), fresh)) {
      row_.push_back(fresh);
      return;
    }
    const auto at = std::lower_bound(row_.begin(), row_.end(), fresh, before);
    if (at != row_.end() && !before(fresh, *at)) {
      *at = fresh;
    } else {
      row_.insert(at, fresh);
    }
  }

  /// Gives each digest of the file to `use(block, digest)`, and forgets it.
  template <class Use>
  void take(std::uint64_t index, Use use) {
    if (row_.empty()) return;
    const Early first{.index = index, .block = 0, .digest = {}};
    for (auto at = std::lower_bound(row_.begin(), row_.end(), first, before); at != row_.end() && at->index == index;
         ++at) {
      if (!std::exchange(at->taken, true)) use(at->block, at->digest);
    }
    while (!row_.empty() && row_.front().taken) row_.pop_front();
  }

  /// Digests held, and places that taken ones leave for a while.
  [[nodiscard]] std::size_t size() const { return row_.size(); }

 private:
  struct Early {
    std::uint64_t index = 0;
    std::uint64_t block = 0;
    digest::Xxh3 digest;
    bool taken = false;
  };
  static bool before(const Early& a, const Early& b) {
    return std::pair{a.index, a.block} < std::pair{b.index, b.block};
  }
  std::size_t digests_max_;
  std::deque<Early> row_;  // ascending
};

}  // namespace penstock::storage
