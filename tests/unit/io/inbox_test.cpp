#include "dataplane/io/inbox.h"

#include <atomic>
#include <thread>
#include <vector>

#include "dataplane/io/deadline_heap.h"
#include "tests/unit/io/support.h"

namespace penstock::io {
namespace {

struct Item {
  std::optional<std::size_t> heap_index;
  std::optional<TimePoint> deadline;
};

TimePoint at(std::uint64_t nanoseconds) { return TimePoint{Duration{static_cast<Duration::rep>(nanoseconds)}}; }

}  // namespace

TEST_CASE("inbox: closures come out in each caller's order, however small the inbox") {
  constexpr int callers = 4;
  constexpr int each = 2000;
  Inbox inbox{3};
  inbox.adopt();
  std::vector<std::vector<int>> seen(callers);
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; ++caller) {
    threads.emplace_back([&, caller] {
      for (int i = 0; i < each; ++i) {
        CHECK(inbox.post([&, caller, i] { seen[static_cast<std::size_t>(caller)].push_back(i); }));
      }
    });
  }
  std::size_t taken = 0;
  std::vector<Inbox::Task> tasks;
  while (taken < callers * each) {
    REQUIRE(readable(inbox.fd()));
    inbox.take(tasks);
    CHECK(tasks.size() <= 3);
    for (auto& task : tasks) task();
    taken += tasks.size();
  }
  for (auto& thread : threads) thread.join();
  for (const auto& of_one : seen) {
    REQUIRE(of_one.size() == each);
    for (int i = 0; i < each; ++i) CHECK(of_one[static_cast<std::size_t>(i)] == i);
  }
}

TEST_CASE("inbox: its owner never waits for itself") {
  Inbox inbox{1};
  inbox.adopt();
  for (int i = 0; i < 10; ++i) CHECK(inbox.post([] {}));
  std::vector<Inbox::Task> tasks;
  inbox.take(tasks);
  CHECK(tasks.size() == 10);
}

TEST_CASE("inbox: closing releases those who wait and keeps what is inside") {
  Inbox inbox{1};
  inbox.adopt();
  CHECK(inbox.post([] {}));
  std::atomic<bool> refused{false};
  std::thread waiting{[&] { refused = !inbox.post([] {}); }};
  inbox.close();
  waiting.join();
  CHECK(refused);
  CHECK_FALSE(inbox.post([] {}));
  std::vector<Inbox::Task> tasks;
  inbox.take(tasks);
  CHECK(tasks.size() == 1);
}

TEST_CASE("inbox: who may not wait is refused at half, and those who wait still have their room") {
  Inbox inbox{4};
  inbox.adopt();
  std::atomic<int> refused{0};
  std::thread sibling{[&] {
    for (int i = 0; i < 5; ++i) {
      if (!inbox.try_post([] {})) ++refused;
    }
    CHECK(inbox.post([] {}));
  }};
  sibling.join();
  CHECK(refused == 3);
  CHECK(readable(inbox.fd()));
  std::vector<Inbox::Task> tasks;
  inbox.take(tasks);
  CHECK(tasks.size() == 3);
  inbox.close();
  CHECK_FALSE(inbox.try_post([] {}));
}

TEST_CASE("deadline heap: under any changes the earliest is what a plain search finds") {
  Rng rng{42};
  std::vector<Item> items(64);
  DeadlineHeap<Item> heap;
  for (int step = 0; step < 20'000; ++step) {
    Item& item = items[rng.below(items.size())];
    if (rng.chance(1, 4)) {
      heap.erase(item);
      item.deadline.reset();
    } else {
      item.deadline = at(rng.below(1000));
      heap.update(item, item.deadline);
    }
    std::optional<TimePoint> earliest;
    std::size_t count = 0;
    for (const Item& other : items) {
      if (!other.deadline) continue;
      ++count;
      if (!earliest || *other.deadline < *earliest) earliest = other.deadline;
    }
    REQUIRE(heap.earliest() == earliest);
    REQUIRE(heap.size() == count);
    if (rng.chance(1, 8)) {
      const TimePoint now = at(rng.below(300));
      while (Item* const due = heap.pop_due(now)) {
        CHECK(*due->deadline <= now);
        due->deadline.reset();
      }
      CHECK((!heap.earliest() || *heap.earliest() > now));
    }
  }
}

}  // namespace penstock::io
