#include "dataplane/io/worker.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <future>
#include <map>
#include <set>
#include <thread>

#include "tests/unit/io/lane_support.h"

namespace penstock::io {
namespace {

std::uint64_t id_in(const Bytes& datagram) {
  std::uint64_t id = 0;
  for (std::size_t i = 1; i <= 8; ++i) id = id << 8 | std::to_integer<std::uint64_t>(datagram[i]);
  return id;
}

/// Stands between a client and the daemon: interleaves the lanes' datagrams, hands them on as GSO batches, and brings
/// the answers back.
class Relay {
 public:
  [[nodiscard]] const Endpoint& address() const { return front_.local(); }
  /// Until every lane's sender knows that all has arrived.
  void run(std::deque<LanePair>& lanes, const Endpoint& daemon) {
    const auto complete = [&] {
      return std::all_of(lanes.begin(), lanes.end(),
                         [](LanePair& lane) { return !lane.sender_seen->record().drained.empty(); });
    };
    while (!complete()) {
      std::array<pollfd, 2> wanted{pollfd{front_.fd(), POLLIN, 0}, pollfd{back_.fd(), POLLIN, 0}};
      // The short time-out is for the end alone, which is not a datagram.
      ::poll(wanted.data(), wanted.size(), 20);
      std::vector<Bytes> datagrams;
      for (const ReceivedRun& run : from_client_.receive()) {
        client_ = run.from;
        for (auto& datagram : cut(run.bytes, run.segment_size)) datagrams.push_back(std::move(datagram));
      }
      hand_on(interleaved(datagrams), daemon);
      for (const ReceivedRun& run : from_daemon_.receive()) {
        answered_from.insert(run.from);
        push(to_client_, {.peer = *client_, .from = std::nullopt}, run.bytes, run.segment_size);
        REQUIRE(to_client_.flush());
      }
    }
  }

  std::size_t mixed_batches = 0;
  std::set<Endpoint> answered_from;

 private:
  static std::vector<Bytes> interleaved(const std::vector<Bytes>& datagrams) {
    std::map<std::uint64_t, std::deque<Bytes>> by_lane;
    for (const Bytes& datagram : datagrams) by_lane[id_in(datagram)].push_back(datagram);
    std::vector<Bytes> out;
    while (out.size() < datagrams.size()) {
      for (auto& [id, queue] : by_lane) {
        if (queue.empty()) continue;
        out.push_back(std::move(queue.front()));
        queue.pop_front();
      }
    }
    return out;
  }

  void hand_on(const std::vector<Bytes>& datagrams, const Endpoint& daemon) {
    for (std::size_t begin = 0; begin < datagrams.size();) {
      Bytes batch = datagrams[begin];
      const std::size_t segment_size = batch.size();
      std::size_t end = begin + 1;
      bool mixed = false;
      // Equal sizes; a shorter one ends the batch.
      for (bool open = true; open && end < datagrams.size() && end - begin < 40; ++end) {
        if (datagrams[end].size() > segment_size) break;
        open = datagrams[end].size() == segment_size;
        mixed = mixed || id_in(datagrams[end]) != id_in(batch);
        batch.insert(batch.end(), datagrams[end].begin(), datagrams[end].end());
      }
      if (mixed) ++mixed_batches;
      push(to_daemon_, {.peer = daemon, .from = std::nullopt}, batch, segment_size);
      REQUIRE(to_daemon_.flush());
      begin = end;
    }
  }

  UdpSocket front_ = bound("127.0.0.1:0");
  UdpSocket back_ = bound("127.0.0.1:0");
  ReceiveQueue from_client_{front_};
  ReceiveQueue from_daemon_{back_};
  SendQueue to_client_{front_};
  SendQueue to_daemon_{back_};
  std::optional<Endpoint> client_;
};

/// Datagrams that the receiver did not believe.
std::uint64_t rejected_by(Worker& worker, const LanePair& lane) {
  std::promise<std::uint64_t> rejected;
  worker.with_receiver(lane.receiver_id, [&](engine::Receiver& receiver, TimePoint) {
    rejected.set_value(receiver.stats().packets_unauthentic + receiver.stats().packets_malformed);
  });
  return rejected.get_future().get();
}

}  // namespace

TEST_CASE("worker: what a sender offers arrives, pushed and pulled, over both families, with and without offloads") {
  for (const bool offloads : {true, false}) {
    for (const std::string listen : {"127.0.0.1:0", "[::1]:0"}) {
      CAPTURE(offloads);
      CAPTURE(listen);
      UdpSocketOptions options;
      options.gso = offloads;
      options.gro = offloads;
      const auto daemon = start_worker({listen}, options);
      const auto client = start_worker({}, options);
      LanePair pushed{random_bytes(5 * MiB + 123, 1), 1};
      LanePair pulled{random_bytes(3 * MiB - 1, 2), 2};
      pushed.push(*client, *daemon);
      pulled.pull(*client, *daemon);
      pushed.check_complete();
      pulled.check_complete();
      CHECK(pushed.receiver_seen->record().peer_heard == 1);
      finish_turn(*daemon);
      CHECK(daemon->counters().gso == offloads);
      CHECK(daemon->counters().gro == offloads);
      CHECK(daemon->counters().datagrams_unknown == 0);
      CHECK(daemon->counters().timers_overdue == 0);
    }
  }
}

TEST_CASE("worker: many lanes share two sockets and nothing is mixed") {
  const auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({});
  std::deque<LanePair> lanes;
  for (std::uint64_t i = 0; i < 12; ++i) {
    lanes.emplace_back(random_bytes(64 * KiB * i + 1 + i, i), 100 + i);
    if (i % 2 == 0) {
      lanes.back().push(*client, *daemon);
    } else {
      lanes.back().pull(*client, *daemon);
    }
  }
  for (auto& lane : lanes) lane.check_complete();
}

TEST_CASE("worker: every socket takes datagrams of every lane") {
  const auto daemon = start_worker({"127.0.0.1:0", "[::1]:0"});
  const auto client = start_worker({});
  REQUIRE(daemon->local_endpoints().size() == 2);
  std::deque<LanePair> lanes;
  for (std::uint64_t i = 0; i < 4; ++i) {
    lanes.emplace_back(random_bytes(300'000, i), 200 + i);
    lanes.back().add_receiver(*daemon, std::nullopt);
    lanes.back().add_sender(*client, daemon->local_endpoints()[i % 2]);
  }
  for (auto& lane : lanes) lane.check_complete();
}

TEST_CASE("worker: idle lanes do not get in the way of a busy one") {
  const auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({});
  std::deque<LanePair> idle;
  for (std::uint64_t i = 0; i < 200; ++i) {
    idle.emplace_back(random_bytes(10, i), 1000 + i);
    idle.back().add_receiver(*daemon, std::nullopt);
  }
  LanePair busy{random_bytes(4 * MiB, 1), 1};
  busy.push(*client, *daemon);
  busy.check_complete();
  for (auto& lane : idle) CHECK(lane.receiver_seen->record().peer_heard == 0);
}

TEST_CASE("worker: strangers are counted and never answered") {
  const auto daemon = start_worker({"127.0.0.1:0"});
  const Endpoint target = daemon->local_endpoints().front();
  LanePair lane{random_bytes(200'000, 1), 1};
  lane.add_receiver(*daemon, std::nullopt);

  const UdpSocket stranger = bound("127.0.0.1:0");
  for (std::size_t size = 1; size < 29; ++size) push_plain(stranger, target, random_bytes(size, size));
  for (std::size_t size = 29; size < 129; ++size) push_plain(stranger, target, random_bytes(size, size));
  // The right id with rubbish behind it: it reaches the lane, which does not believe it.
  for (std::size_t size = 40; size < 80; ++size) {
    Bytes forged = random_bytes(size, size);
    for (std::size_t i = 0; i < 8; ++i) forged[1 + i] = std::byte(lane.receiver_id.value >> (56 - 8 * i));
    push_plain(stranger, target, forged);
  }

  // By the time that a later, honest exchange is over, any answer would be here.
  const auto client = start_worker({});
  lane.add_sender(*client, target);
  lane.check_complete();
  std::byte answer{};
  const auto received = ::recv(stranger.fd(), &answer, 1, MSG_DONTWAIT);
  const int why = errno;  // before doctest prints anything, as it does under -s
  CHECK(received == -1);
  CHECK(why == EAGAIN);
  finish_turn(*daemon);
  CHECK(daemon->counters().datagrams_short == 28);
  CHECK(daemon->counters().datagrams_unknown == 100);
  CHECK(rejected_by(*daemon, lane) == 40);
}

TEST_CASE("worker: a run that mixes lanes is cut by connection id") {
  const auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({});
  Relay relay;
  std::deque<LanePair> lanes;
  for (std::uint64_t i = 0; i < 3; ++i) {
    lanes.emplace_back(random_bytes(400'000 + i, i), 300 + i);
    lanes.back().add_receiver(*daemon, std::nullopt);
    lanes.back().add_sender(*client, relay.address());
  }
  relay.run(lanes, daemon->local_endpoints().front());
  CHECK(relay.mixed_batches > 0);
  for (auto& lane : lanes) {
    lane.check_complete();
    CHECK(rejected_by(*daemon, lane) == 0);
  }
}

TEST_CASE("worker: a learnt peer is answered from the address that it wrote to") {
  const auto daemon = start_worker({"0.0.0.0:0"});
  const auto client = start_worker({});
  Relay relay;
  std::deque<LanePair> lanes;
  lanes.emplace_back(random_bytes(300'000, 1), 1);
  lanes.back().add_receiver(*daemon, std::nullopt);
  lanes.back().add_sender(*client, relay.address());
  const Endpoint written_to = endpoint("127.0.0.2:0").with_port(daemon->local_endpoints().front().port());
  relay.run(lanes, written_to);
  CHECK(relay.answered_from == std::set{written_to});
}

TEST_CASE("worker: a socket that is often full delays batches and loses none") {
  ScriptedCalls calls;
  std::size_t made = 0;
  calls.on_send = [&](const mmsghdr&) { return ++made % 3 == 0 ? EAGAIN : 0; };
  UdpSocketOptions options;
  options.calls = &calls;
  const auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({}, options);
  std::deque<LanePair> lanes;
  for (std::uint64_t i = 0; i < 3; ++i) lanes.emplace_back(random_bytes(2 * MiB, i), i).push(*client, *daemon);
  for (auto& lane : lanes) lane.check_complete();
  finish_turn(*client);
  CHECK(client->counters().send_blocked > 0);
  CHECK(client->counters().datagrams_refused == 0);
}

TEST_CASE("worker: a path without GSO carries the same bytes") {
  ScriptedCalls calls;
  calls.on_send = [](const mmsghdr& first) { return ScriptedCalls::segmented(first) ? EIO : 0; };
  UdpSocketOptions options;
  options.calls = &calls;
  const auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({}, options);
  LanePair lane{random_bytes(3 * MiB, 1), 1};
  lane.push(*client, *daemon);
  lane.check_complete();
  finish_turn(*client);
  CHECK(client->counters().gso_fallbacks == 1);
  CHECK(client->counters().datagrams_refused == 0);
}

TEST_CASE("worker: control messages go both ways beside the bytes") {
  const auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({});
  LanePair lane{random_bytes(100'000, 1), 1};
  lane.push(*client, *daemon);
  const Bytes question = random_bytes(900, 5);
  const Bytes answer = random_bytes(70, 6);
  client->with_sender(lane.sender_id,
                      [&](engine::Sender& sender, TimePoint) { CHECK(sender.queue_control(question)); });
  daemon->with_receiver(lane.receiver_id,
                        [&](engine::Receiver& receiver, TimePoint) { CHECK(receiver.queue_control(answer)); });
  CHECK(lane.receiver_seen->await([&](const auto& r) { return r.control == std::vector<Bytes>{question}; }));
  CHECK(lane.sender_seen->await([&](const auto& r) { return r.control == std::vector<Bytes>{answer}; }));
  lane.check_complete();
}

TEST_CASE("worker: lanes go while traffic flows, and the others do not notice") {
  const auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({});
  std::deque<LanePair> lanes;
  for (std::uint64_t i = 0; i < 8; ++i) lanes.emplace_back(random_bytes(8 * MiB, i), i).push(*client, *daemon);
  for (std::uint64_t i = 0; i < 8; i += 2) {
    LanePair& lane = lanes[i];
    CHECK(lane.receiver_seen->await([](const auto& r) { return r.peer_heard > 0; }));
    std::promise<void> removed;
    // One loses its receiver, the next its sender, a third both.
    if (i % 4 == 0) daemon->remove(lane.receiver_id, [&] { removed.set_value(); });
    if (i % 4 == 2) client->remove(lane.sender_id, [&] { removed.set_value(); });
    removed.get_future().wait();
    if (i == 4) client->remove(lane.sender_id);
    auto& seen = i % 4 == 0 ? lane.receiver_seen : lane.sender_seen;
    CHECK(seen->record().gone == 1);
  }
  for (std::uint64_t i = 1; i < 8; i += 2) lanes[i].check_complete();
  for (auto& lane : lanes) {
    CHECK(lane.receiver_seen->record().after_gone == 0);
    CHECK(lane.sender_seen->record().after_gone == 0);
  }
}

TEST_CASE("worker: what is said in the last moment still leaves") {
  const auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({});
  LanePair lane{random_bytes(100'000, 1), 1};
  lane.push(*client, *daemon);
  lane.check_complete();
  client->with_sender(lane.sender_id,
                      [](engine::Sender& sender, TimePoint) { sender.close(engine::TransportError::none); });
  client->remove(lane.sender_id);
  REQUIRE(lane.receiver_seen->await([](const auto& r) { return !r.closed.empty(); }));
  CHECK(lane.receiver_seen->record().closed.front().by_peer);
}

TEST_CASE("worker: a lane's last word is its statistics, whether it is removed or the worker ends") {
  auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({});
  LanePair lane{random_bytes(50'000, 1), 1};
  lane.push(*client, *daemon);
  lane.check_complete();
  client->remove(lane.sender_id);
  CHECK(lane.sender_seen->await_gone());
  daemon.reset();
  for (const auto& seen : {lane.sender_seen, lane.receiver_seen}) {
    const auto record = seen->record();
    CHECK(record.gone == 1);
    CHECK(record.after_gone == 0);
    CHECK(record.stats > 0);
    CHECK(record.last_stats.packets_sent > 0);
    CHECK(record.last_stats.packets_received > 0);
  }
}

TEST_CASE("worker: calls about a lane that is not there do nothing but answer") {
  const auto worker = start_worker({"127.0.0.1:0"});
  LanePair lane{random_bytes(10, 1), 1};
  lane.add_receiver(*worker, std::nullopt);
  bool touched = false;
  worker->with_sender(lane.receiver_id, [&](engine::Sender&, TimePoint) { touched = true; });
  worker->with_receiver({7}, [&](engine::Receiver&, TimePoint) { touched = true; });
  std::promise<void> done;
  worker->remove({7}, [&] { done.set_value(); });
  done.get_future().wait();
  CHECK_FALSE(touched);
}

TEST_CASE("worker: closures of one thread keep their order, from any number of threads, through a small inbox") {
  const auto daemon = start_worker({"127.0.0.1:0"}, {}, 8);
  const auto client = start_worker({}, {}, 8);
  LanePair lane{random_bytes(4 * MiB, 1), 1};
  lane.push(*client, *daemon);
  constexpr std::size_t threads_count = 4;
  constexpr std::size_t each = 3000;
  std::vector<std::vector<std::size_t>> seen(threads_count);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < threads_count; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < each; ++i) {
        client->with_sender(lane.sender_id, [&, t, i](engine::Sender& sender, TimePoint) {
          sender.on_source_ready();
          seen[t].push_back(i);
        });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  lane.check_complete();
  finish_turn(*client);
  for (const auto& of_one : seen) {
    REQUIRE(of_one.size() == each);
    CHECK(std::is_sorted(of_one.begin(), of_one.end()));
  }
}

TEST_CASE("worker: what was posted before its end is carried out") {
  std::atomic<int> count = 0;
  {
    const auto worker = start_worker({"127.0.0.1:0"});
    for (int i = 0; i < 500; ++i) worker->post([&] { ++count; });
  }
  CHECK(count == 500);
}

TEST_CASE("worker: an address that can not be bound is named") {
  const auto first = start_worker({"127.0.0.1:0"});
  WorkerConfig config;
  config.listen = first->local_endpoints();
  const auto second = Worker::create(config);
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().message.find(config.listen.front().to_string()) != std::string::npos);
}

TEST_CASE("worker: the companion decides about numbers that the kernel picked") {
  WorkerConfig config;
  config.listen = {endpoint("127.0.0.1:0")};
  std::vector<Endpoint> offered;
  config.bind_companion = [&](const Endpoint& local) {
    offered.push_back(local);
    return offered.size() == 2;
  };
  const auto worker = Worker::create(config);
  REQUIRE(worker.ok());
  CHECK(offered.size() == 2);
  CHECK((*worker)->local_endpoints() == std::vector{offered.back()});
}

}  // namespace penstock::io
