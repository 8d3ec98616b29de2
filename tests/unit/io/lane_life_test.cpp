#include <doctest/doctest.h>

#include <atomic>
#include <deque>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "tests/unit/io/lane_support.h"

// Who holds a lane, and for how long: closures, queues and callbacks that outlive it must not reach it. What is broken
// here shows as a wrong count, and under the address and thread sanitizers as what it is.

namespace penstock::io {
namespace {

/// Stops the worker between two turns, so that all that is posted meanwhile is carried out as one batch.
class Held {
 public:
  explicit Held(Worker& worker) {
    std::promise<void> inside;
    worker.post([&inside, go = go_.get_future().share()] {
      inside.set_value();
      go.wait();
    });
    inside.get_future().wait();
  }
  ~Held() { go_.set_value(); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  std::promise<void> go_;
};

/// Posts about its own lane, and about another, whenever it hears anything: also from its last word.
class BusyObserver final : public LaneObserver {
 public:
  BusyObserver(Worker& worker, ConnectionId own, ConnectionId other) : worker_(worker), own_(own), other_(other) {}
  void on_event(const engine::ReceiverEvent&) override { meddle(); }
  void on_stats(const engine::LaneStats&) override { meddle(); }
  void on_lane_gone() override {
    ++gone;
    meddle();
  }
  std::atomic<int> gone{0};
  std::atomic<int> reached{0};

 private:
  void meddle() {
    worker_.with_receiver(own_, [this](engine::Receiver&, TimePoint) { ++reached; });
    worker_.remove(other_);
    worker_.remove(own_);
    worker_.with_receiver(own_, [this](engine::Receiver&, TimePoint) { ++reached_late; });
  }

 public:
  std::atomic<int> reached_late{0};

 private:
  Worker& worker_;
  ConnectionId own_;
  ConnectionId other_;
};

}  // namespace

TEST_CASE("lane life: closures behind a removal find nothing, those behind a new lane of the same id find that one") {
  const auto worker = start_worker({"127.0.0.1:0"});
  // One seed, so one connection id; of different sizes, so that engines can be told apart.
  LanePair first{random_bytes(10, 1), 1};
  LanePair second{random_bytes(20, 2), 1};
  std::vector<std::string> seen;
  std::weak_ptr<MemorySink> first_sink = first.sink;
  std::promise<void> done;
  {
    const Held held{*worker};
    const auto id = first.receiver_id;
    REQUIRE(id == second.receiver_id);
    const auto look = [&](const char* when) {
      worker->with_receiver(id, [&seen, when](engine::Receiver&, TimePoint) { seen.emplace_back(when); });
    };
    look("before the first");
    first.add_receiver(*worker, std::nullopt);
    look("first");
    worker->remove(id, [&] { seen.emplace_back(first_sink.expired() ? "window let go" : "window held"); });
    first.sink.reset();
    look("between");
    worker->remove(id, [&] { seen.emplace_back("removed again"); });
    second.add_receiver(*worker, std::nullopt);
    look("second");
    worker->post([&] { done.set_value(); });
  }
  done.get_future().wait();
  CHECK(seen == std::vector<std::string>{"first", "window let go", "removed again", "second"});
  CHECK(first.receiver_seen->record().gone == 1);
  CHECK(first.receiver_seen->record().after_gone == 0);
  CHECK(second.receiver_seen->record().gone == 0);
}

TEST_CASE("lane life: a removal from the worker's thread comes after an adding that was posted from there") {
  // Control adds a lane from a closure on the worker, and may have to let it go before that adding was carried out.
  const auto worker = start_worker({"127.0.0.1:0"});
  LanePair lane{random_bytes(10, 1), 1};
  {
    const Held held{*worker};
    worker->post([&] { lane.add_receiver(*worker, std::nullopt); });
    worker->post([&] { worker->remove(lane.receiver_id); });
  }
  CHECK(lane.receiver_seen->await_gone());
  CHECK(lane.receiver_seen->record().after_gone == 0);
}

TEST_CASE("lane life: datagrams that were read before a removal, and looked at after it, reach nobody") {
  /// Posts the removal from within the call that reads: the closure is carried out before the datagrams are handed on.
  class RemovingCalls final : public DatagramCalls {
   public:
    std::function<void()> on_read;
    int send(int fd, mmsghdr* messages, unsigned count) override { return kernel().send(fd, messages, count); }
    int receive(int fd, mmsghdr* messages, unsigned count) override {
      const int got = kernel().receive(fd, messages, count);
      if (got > 0 && on_read) std::exchange(on_read, nullptr)();
      return got;
    }
  };
  RemovingCalls calls;
  UdpSocketOptions options;
  options.calls = &calls;
  const auto daemon = start_worker({"127.0.0.1:0"}, options);
  const auto client = start_worker({});
  LanePair lane{random_bytes(1 * MiB, 1), 1};
  LanePair other{random_bytes(1 * MiB, 2), 2};
  {
    const Held held{*daemon};
    calls.on_read = [&] { daemon->remove(lane.receiver_id); };
  }
  lane.push(*client, *daemon);
  CHECK(lane.receiver_seen->await_gone());
  CHECK(lane.receiver_seen->record().peer_heard == 0);
  other.push(*client, *daemon);
  other.check_complete();
  finish_turn(*daemon);
  CHECK(daemon->counters().datagrams_unknown > 0);
}

TEST_CASE("lane life: a lane that goes while it waits for its socket is not woken when the socket has room") {
  ScriptedCalls calls;
  std::atomic<bool> full = true;
  std::atomic<int> refused = 0;
  calls.on_send = [&](const mmsghdr&) {
    if (full) ++refused;
    return full ? EAGAIN : 0;
  };
  UdpSocketOptions options;
  options.calls = &calls;
  const auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({}, options);
  std::deque<LanePair> lanes;
  // Together far more than the queue of a blocked socket takes, so that some are kept waiting.
  for (std::uint64_t i = 0; i < 6; ++i) lanes.emplace_back(random_bytes(2 * MiB, i), 10 + i).push(*client, *daemon);
  while (refused < 10) std::this_thread::yield();
  std::deque<std::weak_ptr<MemorySource>> gone;
  for (std::size_t i = 0; i < 6; i += 2) {
    gone.emplace_back(lanes[i].source);
    lanes[i].source.reset();
    client->remove(lanes[i].sender_id);
  }
  finish_turn(*client);
  for (const auto& source : gone) CHECK(source.expired());
  full = false;
  for (std::size_t i = 1; i < 6; i += 2) lanes[i].check_complete();
  for (auto& lane : lanes) CHECK(lane.sender_seen->record().after_gone == 0);
}

TEST_CASE("lane life: an observer that posts about its lane with its last word reaches nothing that has gone") {
  const auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({});
  LanePair busy{random_bytes(300'000, 1), 1};
  LanePair other{random_bytes(300'000, 2), 2};
  const auto observer = std::make_shared<BusyObserver>(*daemon, busy.receiver_id, other.receiver_id);
  other.add_receiver(*daemon, std::nullopt);
  busy.add_receiver(*daemon, std::nullopt, observer);
  busy.add_sender(*client, daemon->local_endpoints().front());
  other.add_sender(*client, daemon->local_endpoints().front());
  CHECK(other.receiver_seen->await_gone());
  while (observer->gone == 0) std::this_thread::yield();
  finish_turn(*daemon);
  finish_turn(*daemon);  // what the last word posted has been carried out as well
  CHECK(observer->gone == 1);
  CHECK(observer->reached > 0);
  CHECK(observer->reached_late == 0);
  CHECK(other.receiver_seen->record().after_gone == 0);
}

TEST_CASE("lane life: lanes come and go from many threads while bytes flow, and each is let go of once") {
  constexpr std::uint64_t threads_count = 4;
  constexpr std::uint64_t each = 40;
  auto daemon = start_worker({"127.0.0.1:0"}, {}, 16);
  auto client = start_worker({}, {}, 16);
  LanePair steady{random_bytes(8 * MiB, 99), 99};
  steady.push(*client, *daemon);
  std::vector<std::deque<LanePair>> lanes(threads_count);
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < threads_count; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < each; ++i) {
        LanePair& lane = lanes[t].emplace_back(random_bytes(40'000, i), 1000 + t * each + i);
        lane.push(*client, *daemon);
        client->with_sender(lane.sender_id, [](engine::Sender& sender, TimePoint) { sender.on_source_ready(); });
        // Every third is left to the end of the workers; of the others one end goes, or the other, at any point.
        if (i % 3 == 0) daemon->remove(lane.receiver_id);
        if (i % 3 == 1) client->remove(lane.sender_id);
        daemon->with_receiver(lane.receiver_id, [](engine::Receiver& receiver, TimePoint) { (void)receiver.stats(); });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  steady.check_complete();
  client.reset();
  daemon.reset();
  for (auto& of_one : lanes) {
    for (auto& lane : of_one) {
      for (const auto& seen : {lane.sender_seen, lane.receiver_seen}) {
        CHECK(seen->record().gone == 1);
        CHECK(seen->record().after_gone == 0);
      }
      CHECK(lane.source.use_count() == 1);
      CHECK(lane.sink.use_count() == 1);
    }
  }
}

TEST_CASE("lane life: what is queued when a worker ends is carried out, in order, and then every lane goes") {
  LanePair lane{random_bytes(10, 1), 1};
  LanePair left{random_bytes(10, 2), 2};
  std::vector<int> seen;
  auto worker = start_worker({"127.0.0.1:0"});
  {
    const Held held{*worker};
    lane.add_receiver(*worker, std::nullopt);
    worker->with_receiver(lane.receiver_id, [&](engine::Receiver&, TimePoint) { seen.push_back(1); });
    worker->remove(lane.receiver_id, [&] { seen.push_back(2); });
    left.add_receiver(*worker, std::nullopt);
    worker->with_receiver(lane.receiver_id, [&](engine::Receiver&, TimePoint) { seen.push_back(3); });
  }
  worker.reset();
  CHECK(seen == std::vector<int>{1, 2});
  CHECK(lane.receiver_seen->record().gone == 1);
  CHECK(left.receiver_seen->record().gone == 1);
  CHECK(left.sink.use_count() == 1);
}

}  // namespace penstock::io
