#include "tests/sim/event_queue.h"

#include <algorithm>
#include <utility>

namespace penstock::sim {

void EventQueue::schedule(TimePoint at, Action action) {
  heap_.push_back({std::max(at, now_), sequence_++, std::move(action)});
  std::push_heap(heap_.begin(), heap_.end(), is_later);
}

bool EventQueue::run_one(TimePoint limit) {
  if (heap_.empty() || heap_.front().at > limit) return false;
  std::pop_heap(heap_.begin(), heap_.end(), is_later);
  Event event = std::move(heap_.back());
  heap_.pop_back();
  now_ = event.at;
  ++events_run_;
  event.action();
  return true;
}

bool EventQueue::is_later(const Event& a, const Event& b) {
  return std::pair{a.at, a.sequence} > std::pair{b.at, b.sequence};
}

}  // namespace penstock::sim
