#include "tests/sim/event_queue.h"

#include <algorithm>
#include <utility>

namespace penstock::sim {

void EventQueue::schedule(TimePoint at, Action action) {
  if (vacant_.empty()) {
    vacant_.push_back(actions_.size());
    actions_.emplace_back();
  }
  const std::size_t place = vacant_.back();
  vacant_.pop_back();
  actions_[place] = std::move(action);
  heap_.push_back({std::max(at, now_), sequence_++, place});
  std::push_heap(heap_.begin(), heap_.end(), is_later);
}

bool EventQueue::run_one(TimePoint limit) {
  if (heap_.empty() || heap_.front().at > limit) return false;
  std::pop_heap(heap_.begin(), heap_.end(), is_later);
  const Event event = heap_.back();
  heap_.pop_back();
  const Action action = std::exchange(actions_[event.action], nullptr);
  vacant_.push_back(event.action);
  now_ = event.at;
  ++events_run_;
  action();
  return true;
}

bool EventQueue::is_later(const Event& a, const Event& b) {
  return std::pair{a.at, a.sequence} > std::pair{b.at, b.sequence};
}

}  // namespace penstock::sim
