#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "common/time.h"

namespace penstock::sim {

/// Virtual time: what is to happen, in the order of (time, order of scheduling). Nothing else moves the clock, so one
/// seed gives one history.
class EventQueue {
 public:
  using Action = std::function<void()>;

  explicit EventQueue(TimePoint start) : now_(start) {}

  [[nodiscard]] TimePoint now() const { return now_; }
  /// `at` in the past means now: after everything that is scheduled for now already.
  void schedule(TimePoint at, Action action);
  /// Runs the earliest event, if there is one not later than `limit`. False: there is none.
  bool run_one(TimePoint limit);
  [[nodiscard]] std::uint64_t events_run() const { return events_run_; }

 private:
  struct Event {
    TimePoint at;
    std::uint64_t sequence;
    std::size_t action;  // in actions_
  };
  static bool is_later(const Event& a, const Event& b);

  std::vector<Event> heap_;
  std::vector<Action> actions_;
  std::vector<std::size_t> vacant_;  // in actions_
  TimePoint now_;
  std::uint64_t sequence_ = 0;
  std::uint64_t events_run_ = 0;
};

}  // namespace penstock::sim
