#include "dataplane/io/worker_loop.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "dataplane/io/monotonic_now.h"
#include "tests/unit/io/lane_support.h"

namespace penstock::io {
namespace {

using namespace std::chrono_literals;

/// What fired, in order; filled by the loop's thread.
struct Fired {
  std::vector<std::uint64_t> ids;
  std::vector<TimePoint> deadlines;
};

/// A lane without engine or path: only its deadline. Fires once, or, if it is `stuck`, wants the same past moment again
/// and again, as no engine should.
class TimedLane final : public Lane {
 public:
  TimedLane(std::uint64_t id, TimePoint deadline, Fired& fired, bool stuck = false)
      : Lane({id}, std::make_shared<LaneObserver>(), {.stats_interval = 1h, .quiet_after = 1h}),
        deadline_(deadline),
        fired_(fired),
        stuck_(stuck) {}

  engine::BatchOutcome handle_datagrams(TimePoint, std::span<std::byte>, std::size_t, engine::EcnMark,
                                        const SocketDrops&) override {
    return {};
  }
  std::optional<engine::Transmit> poll_transmit(TimePoint, std::span<std::byte>) override { return std::nullopt; }
  [[nodiscard]] Duration patience() const override { return {}; }

 protected:
  void open_engine_path(TimePoint) override {}
  void deliver_events() override {}
  void handle_engine_timeout(TimePoint now) override {
    CHECK(*deadline_ <= now);
    fired_.ids.push_back(id().value);
    fired_.deadlines.push_back(*deadline_);
    if (!stuck_) deadline_.reset();
  }
  [[nodiscard]] std::optional<TimePoint> engine_timeout() const override { return deadline_; }
  [[nodiscard]] const engine::LaneStats& stats() const override { return stats_; }

 private:
  std::optional<TimePoint> deadline_;
  Fired& fired_;
  bool stuck_;
  engine::LaneStats stats_;
};

/// A loop on a thread of its own, to which closures can be handed.
class RunningLoop {
 public:
  RunningLoop() {
    std::vector<UdpSocket> sockets;
    sockets.push_back(bound("127.0.0.1:0"));
    loop_ = WorkerLoop::create({}, std::move(sockets)).value();
    thread_ = std::thread{[this] { loop_->run(); }};
  }
  ~RunningLoop() {
    loop_->inbox().close();
    thread_.join();
  }
  RunningLoop(const RunningLoop&) = delete;
  RunningLoop& operator=(const RunningLoop&) = delete;

  WorkerLoop& operator*() { return *loop_; }
  /// Runs `act` on the loop's thread and waits for its answer.
  template <class Act>
  auto ask(Act act) {
    std::packaged_task<decltype(act(*loop_))()> task{[&] { return act(*loop_); }};
    auto answer = task.get_future();
    loop_->inbox().post([&] { task(); });
    return answer.get();
  }
  /// Turn after turn, until it holds; a hang is ctest's to end.
  template <class Condition>
  void run_until(Condition condition) {
    while (!ask([&](WorkerLoop&) { return condition(); })) std::this_thread::yield();
  }

 private:
  std::unique_ptr<WorkerLoop> loop_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("worker loop: deadlines fire in their order, whatever the order in which they were set") {
  constexpr std::uint64_t count = 200;
  std::vector<std::uint64_t> order(count);
  for (std::uint64_t i = 0; i < count; ++i) order[i] = i;
  Rng rng{4};
  for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[rng.next() % i]);

  Fired fired;
  RunningLoop running;
  // The first half has passed already when the lanes are added, the other is still to come, some of it in one turn.
  const TimePoint start = monotonic_now() - 100 * 50us;
  running.ask([&](WorkerLoop& loop) {
    for (const auto i : order) {
      loop.add(std::make_shared<TimedLane>(i, start + static_cast<int>(i) * 50us, fired), std::nullopt);
    }
    return true;
  });
  running.run_until([&] { return fired.ids.size() == count; });
  CHECK(std::is_sorted(fired.deadlines.begin(), fired.deadlines.end()));
  CHECK(std::is_sorted(fired.ids.begin(), fired.ids.end()));
  CHECK((*running).counters().timers_overdue == 0);
}

TEST_CASE("worker loop: a lane that is removed before its deadline never fires, and its neighbours do") {
  Fired fired;
  RunningLoop running;
  std::vector<std::weak_ptr<TimedLane>> lanes;
  const TimePoint start = monotonic_now() + 5ms;
  running.ask([&](WorkerLoop& loop) {
    for (std::uint64_t i = 0; i < 50; ++i) {
      auto lane = std::make_shared<TimedLane>(i, start + static_cast<int>(i) * 20us, fired);
      lanes.push_back(lane);
      loop.add(std::move(lane), std::nullopt);
    }
    return true;
  });
  // In a later turn, when every deadline lies in the heap: from its top, its middle and its end.
  const auto before = running.ask([&](WorkerLoop& loop) {
    for (std::uint64_t i = 0; i < 50; i += 2) loop.remove({i});
    return fired.ids;
  });
  for (std::uint64_t i = 0; i < 50; i += 2) CHECK(lanes[i].expired());
  running.run_until([&] { return !fired.ids.empty() && fired.ids.back() == 49; });
  auto after = running.ask([&](WorkerLoop&) { return fired.ids; });
  after.erase(after.begin(), after.begin() + static_cast<std::ptrdiff_t>(before.size()));
  for (const auto id : after) CHECK(id % 2 == 1);
  CHECK(std::is_sorted(fired.ids.begin(), fired.ids.end()));
}

TEST_CASE("worker loop: a lane that wants the same time-out for ever is noticed, and holds nobody up") {
  Fired stuck;
  Fired fired;
  RunningLoop running;
  running.ask([&](WorkerLoop& loop) {
    const TimePoint now = monotonic_now();
    loop.add(std::make_shared<TimedLane>(1, now - 1s, stuck, true), std::nullopt);
    for (std::uint64_t i = 2; i < 12; ++i) {
      loop.add(std::make_shared<TimedLane>(i, now + static_cast<int>(i) * 300us, fired), std::nullopt);
    }
    return true;
  });
  running.run_until([&] { return fired.ids.size() == 10; });
  CHECK(std::is_sorted(fired.ids.begin(), fired.ids.end()));
  CHECK(running.ask([&](WorkerLoop&) { return stuck.ids.size(); }) > 1);
  CHECK((*running).counters().timers_overdue > 0);
}

TEST_CASE("worker loop: the end of the loop lets go of lanes whose deadlines were never reached") {
  Fired fired;
  std::weak_ptr<TimedLane> kept;
  {
    RunningLoop running;
    running.ask([&](WorkerLoop& loop) {
      auto lane = std::make_shared<TimedLane>(1, monotonic_now() + 1h, fired);
      kept = lane;
      loop.add(std::move(lane), std::nullopt);
      return true;
    });
    CHECK_FALSE(kept.expired());
  }
  CHECK(kept.expired());
  CHECK(fired.ids.empty());
}

}  // namespace penstock::io
