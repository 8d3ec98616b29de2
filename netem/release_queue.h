#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/time.h"

namespace penstock::netem {

/// What waits for its time, earliest first; of equal times, first pushed, first released. Pure.
/// Bound: none of its own, the owner counts (`size`). After `reserve(n)` nothing allocates up to n items.
/// Threads: one owner. Time: passed in.
template <class T>
class ReleaseQueue {
 public:
  struct Due {
    TimePoint at;
    T item;
  };

  void reserve(std::size_t count) { heap_.reserve(count); }

  void push(TimePoint at, T item) {
    heap_.push_back({at, sequence_++, std::move(item)});
    std::push_heap(heap_.begin(), heap_.end(), is_later);
  }

  /// The earliest item, if its time has come.
  std::optional<Due> pop_due(TimePoint now) {
    if (heap_.empty() || heap_.front().at > now) return std::nullopt;
    std::pop_heap(heap_.begin(), heap_.end(), is_later);
    Due due{heap_.back().at, std::move(heap_.back().item)};
    heap_.pop_back();
    return due;
  }

  /// When the next one is due; nullopt when nothing waits.
  [[nodiscard]] std::optional<TimePoint> next() const {
    if (heap_.empty()) return std::nullopt;
    return heap_.front().at;
  }
  [[nodiscard]] std::size_t size() const { return heap_.size(); }

 private:
  struct Entry {
    TimePoint at;
    std::uint64_t sequence;
    T item;
  };

  static bool is_later(const Entry& a, const Entry& b) { return a.at != b.at ? a.at > b.at : a.sequence > b.sequence; }

  std::vector<Entry> heap_;
  std::uint64_t sequence_ = 0;
};

}  // namespace penstock::netem
