#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "common/check.h"

namespace penstock::bytes {

/// First in, first out, with a fixed bound; allocates once, at construction. A full buffer refuses: the caller's policy
/// decides what happens then. A place that was popped holds a moved-from T until it is reused.
/// Threads: one owner.
template <class T>
class RingBuffer {
 public:
  /// Requires: capacity > 0.
  explicit RingBuffer(std::size_t capacity) : slots_(capacity) { PENSTOCK_CHECK(capacity > 0); }

  [[nodiscard]] std::size_t capacity() const { return slots_.size(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] bool full() const { return size_ == slots_.size(); }

  /// False when full; `value` is then untouched.
  [[nodiscard]] bool try_push(T&& value) {
    if (full()) return false;
    slots_[slot(size_)] = std::move(value);
    ++size_;
    return true;
  }
  [[nodiscard]] bool try_push(const T& value) {
    if (full()) return false;
    return try_push(T{value});
  }
  /// The oldest, taken out.
  std::optional<T> try_pop() {
    if (empty()) return std::nullopt;
    std::optional<T> value{std::move(slots_[head_])};
    head_ = slot(1);
    --size_;
    return value;
  }
  /// The oldest is 0. Requires: index < size().
  [[nodiscard]] T& operator[](std::size_t index) {
    PENSTOCK_CHECK(index < size_);
    return slots_[slot(index)];
  }
  [[nodiscard]] const T& operator[](std::size_t index) const {
    PENSTOCK_CHECK(index < size_);
    return slots_[slot(index)];
  }
  [[nodiscard]] T& front() { return (*this)[0]; }
  [[nodiscard]] const T& front() const { return (*this)[0]; }
  [[nodiscard]] T& back() { return (*this)[size_ - 1]; }
  [[nodiscard]] const T& back() const { return (*this)[size_ - 1]; }
  void clear() {
    while (try_pop()) {
    }
  }

 private:
  [[nodiscard]] std::size_t slot(std::size_t index) const {
    const std::size_t at = head_ + index;  // both below capacity, so one subtraction is enough
    return at < slots_.size() ? at : at - slots_.size();
  }

  std::vector<T> slots_;
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

}  // namespace penstock::bytes
