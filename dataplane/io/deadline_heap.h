#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/time.h"

namespace penstock::io {

/// Which of many things is due first: a binary heap in which each item knows its place, so that a deadline moves in
/// O(log n) and an idle item costs nothing. `Item` has a member `std::optional<std::size_t> heap_index`, the heap's own
/// business, nullopt while the item is not in it. Items are borrowed: erase before they die. Threads: one owner.
template <class Item>
class DeadlineHeap {
 public:
  /// Sets, moves or, with nullopt, takes away the item's deadline.
  void update(Item& item, std::optional<TimePoint> deadline) {
    if (!deadline) return erase(item);
    if (!item.heap_index) {
      item.heap_index = nodes_.size();
      nodes_.push_back({*deadline, &item});
    } else if (nodes_[*item.heap_index].deadline == *deadline) {
      return;
    } else {
      nodes_[*item.heap_index].deadline = *deadline;
    }
    settle(*item.heap_index);
  }

  void erase(Item& item) {
    if (!item.heap_index) return;
    const std::size_t hole = *item.heap_index;
    PENSTOCK_CHECK(hole < nodes_.size() && nodes_[hole].item == &item);
    item.heap_index.reset();
    const Node last = nodes_.back();
    nodes_.pop_back();
    if (last.item == &item) return;
    place(hole, last);
    settle(hole);
  }

  [[nodiscard]] std::optional<TimePoint> earliest() const {
    if (nodes_.empty()) return std::nullopt;
    return nodes_.front().deadline;
  }

  /// Takes out the item that is due first, if it is due at `now`.
  Item* pop_due(TimePoint now) {
    if (nodes_.empty() || nodes_.front().deadline > now) return nullptr;
    Item* const item = nodes_.front().item;
    erase(*item);
    return item;
  }

  [[nodiscard]] std::size_t size() const { return nodes_.size(); }

 private:
  struct Node {
    TimePoint deadline;
    Item* item;
  };

  void place(std::size_t index, const Node& node) {
    nodes_[index] = node;
    node.item->heap_index = index;
  }

  void settle(std::size_t index) {
    const Node node = nodes_[index];
    while (index > 0) {
      const std::size_t parent = (index - 1) / 2;
      if (nodes_[parent].deadline <= node.deadline) break;
      place(index, nodes_[parent]);
      index = parent;
    }
    for (std::size_t child = 2 * index + 1; child < nodes_.size(); child = 2 * index + 1) {
      if (child + 1 < nodes_.size() && nodes_[child + 1].deadline < nodes_[child].deadline) ++child;
      if (node.deadline <= nodes_[child].deadline) break;
      place(index, nodes_[child]);
      index = child;
    }
    place(index, node);
  }

  std::vector<Node> nodes_;
};

}  // namespace penstock::io
