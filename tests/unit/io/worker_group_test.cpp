#include "dataplane/io/worker_group.h"

#include <array>
#include <atomic>
#include <deque>
#include <future>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/io/steering.h"
#include "tests/unit/io/lane_support.h"

namespace penstock::io {
namespace {

std::unique_ptr<WorkerGroup> start_group(const std::vector<std::string>& listen, std::size_t workers,
                                         UdpSteering steering = UdpSteering::automatic,
                                         const UdpSocketOptions& options = {}) {
  WorkerGroupConfig config;
  for (const auto& text : listen) config.worker.listen.push_back(endpoint(text));
  config.worker.socket = options;
  config.workers = workers;
  config.steering = steering;
  auto group = WorkerGroup::create(config);
  REQUIRE(group.ok());
  REQUIRE(group.value()->size() == workers);
  return std::move(group).value();
}

void finish_turns(WorkerGroup& group) {
  for (std::size_t i = 0; i < group.size(); ++i) finish_turn(group.at(i));
}

/// A lane whose end at the group is `owner`'s, under an id that names `named`.
struct PlacedLane {
  PlacedLane(WorkerGroup& group, std::size_t owner_place, std::size_t named, Bytes bytes, std::uint64_t seed)
      : pair(std::move(bytes), seed), owner(group.at(owner_place)) {
    pair.receiver_id = id_naming(named, group.size(), pair.receiver_id.value);
    pair.sender_id = id_naming(named, group.size(), pair.sender_id.value);
  }
  void push(Worker& client, std::size_t address = 0) {
    pair.add_receiver(owner, std::nullopt);
    pair.add_sender(client, owner.local_endpoints()[address]);
  }
  void pull(Worker& client, std::size_t address = 0) {
    pair.add_sender(owner, std::nullopt);
    pair.add_receiver(client, owner.local_endpoints()[address], true);
  }
  LanePair pair;
  Worker& owner;
};

}  // namespace

TEST_CASE("worker group: lanes of many clients run on all workers, and every datagram finds its own by itself") {
  const auto group = start_group({"127.0.0.1:0"}, 4);
  REQUIRE(group->fast_paths().steered);
  CHECK(group->fast_paths().workers == 4);
  std::deque<std::unique_ptr<Worker>> clients;
  std::deque<PlacedLane> lanes;
  for (std::uint64_t i = 0; i < 8; ++i) {
    clients.push_back(start_worker({}));
    lanes.emplace_back(*group, i % 4, i % 4, random_bytes(700'000 + i, i), 40 + i);
    if (i < 4) {
      lanes.back().push(*clients.back());
    } else {
      lanes.back().pull(*clients.back());
    }
  }
  for (auto& lane : lanes) lane.pair.check_complete();
  finish_turns(*group);
  const auto counters = group->counters();
  CHECK(counters.strays_passed_on == 0);
  CHECK(counters.datagrams_unknown == 0);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(group->at(i).counters().datagrams_received > 0);
    sum += group->at(i).counters().datagrams_received;
  }
  CHECK(counters.datagrams_received == sum);
}

TEST_CASE("worker group: without the kernel's help every lane completes, its datagrams handed from worker to worker") {
  for (const std::string listen : {"127.0.0.1:0", "[::1]:0", "[::]:0"}) {
    for (const bool offloads : {true, false}) {
      CAPTURE(listen);
      CAPTURE(offloads);
      UdpSocketOptions options;
      options.gso = offloads;
      options.gro = offloads;
      const auto group = start_group({listen}, 3, UdpSteering::off, options);
      CHECK_FALSE(group->fast_paths().steered);
      // One socket: by its address all its datagrams go to one worker, so that two lanes in three are strangers there.
      const auto client = start_worker({}, options);
      const Endpoint bound_to = group->local_endpoints().front();
      const Endpoint target = bound_to.is_wildcard() ? endpoint("127.0.0.1:1").with_port(bound_to.port()) : bound_to;
      std::deque<PlacedLane> lanes;
      for (std::uint64_t i = 0; i < 6; ++i) {
        lanes.emplace_back(*group, i % 3, i % 3, random_bytes(400'000 + i, i), 60 + i);
        auto& lane = lanes.back();
        if (i < 3) {
          lane.pair.add_receiver(lane.owner, std::nullopt);
          lane.pair.add_sender(*client, target);
        } else {
          lane.pair.add_sender(lane.owner, std::nullopt);
          lane.pair.add_receiver(*client, target, true);
        }
      }
      for (auto& lane : lanes) lane.pair.check_complete();
      finish_turns(*group);
      CHECK(group->counters().strays_passed_on > 0);
      CHECK(group->counters().strays_dropped == 0);
      // Answers leave by the owner's own socket, from the address that the client wrote to: it took them.
      CHECK(client->counters().datagrams_unknown == 0);
    }
  }
}

TEST_CASE("worker group: an id that names the wrong worker costs a hand-over, not a byte") {
  const auto group = start_group({"127.0.0.1:0"}, 4);
  REQUIRE(group->fast_paths().steered);
  const auto client = start_worker({});
  PlacedLane pushed{*group, 1, 2, random_bytes(1'000'000, 1), 1};
  PlacedLane pulled{*group, 3, 0, random_bytes(1'000'000, 2), 2};
  pushed.push(*client);
  pulled.pull(*client);
  pushed.pair.check_complete();
  pulled.pair.check_complete();
  finish_turns(*group);
  CHECK(group->at(2).counters().strays_passed_on > 0);
  CHECK(group->at(0).counters().strays_passed_on > 0);
}

TEST_CASE("worker group: every address takes datagrams of every worker's lanes") {
  for (const auto steering : {UdpSteering::automatic, UdpSteering::off}) {
    const auto group = start_group({"127.0.0.1:0", "[::1]:0"}, 2, steering);
    REQUIRE(group->local_endpoints().size() == 2);
    const auto client = start_worker({});
    std::deque<PlacedLane> lanes;
    for (std::uint64_t i = 0; i < 4; ++i) {
      lanes.emplace_back(*group, i % 2, i % 2, random_bytes(200'000, i), 80 + i);
      lanes.back().push(*client, i / 2);
    }
    for (auto& lane : lanes) lane.pair.check_complete();
  }
}

TEST_CASE("worker group: strangers' datagrams are counted once, by whoever meets them, and go nowhere") {
  for (const auto steering : {UdpSteering::automatic, UdpSteering::off}) {
    const auto group = start_group({"127.0.0.1:0"}, 3, steering);
    PlacedLane lane{*group, 1, 1, random_bytes(100'000, 1), 1};
    const auto client = start_worker({});
    lane.push(*client);
    lane.pair.check_complete();
    finish_turns(*group);
    const auto before = group->counters();
    const UdpSocket stranger = bound("127.0.0.1:0");
    Rng rng{3};
    constexpr std::uint64_t count = 300;
    for (std::uint64_t i = 0; i < count; ++i) {
      const Bytes noise = random_bytes(40 + rng.below(1000), rng.next());
      push_plain(stranger, group->local_endpoints().front(), noise);
    }
    const auto met = [&] {
      finish_turns(*group);
      return group->counters().datagrams_unknown - before.datagrams_unknown;
    };
    while (met() < count) std::this_thread::yield();
    CHECK(met() == count);
    CHECK(group->counters().strays_passed_on == before.strays_passed_on);
    CHECK(group->counters().datagrams_sent == before.datagrams_sent);
  }
}

TEST_CASE("worker group: lanes go on one worker while strays for them still come from another") {
  const auto group = start_group({"127.0.0.1:0"}, 2, UdpSteering::off);
  const auto client = start_worker({});
  std::deque<PlacedLane> lanes;
  for (std::uint64_t i = 0; i < 8; ++i) {
    lanes.emplace_back(*group, i % 2, i % 2, random_bytes(4 * MiB, i), 90 + i);
    lanes.back().push(*client);
  }
  for (std::uint64_t i = 0; i < 8; i += 3) {
    CHECK(lanes[i].pair.receiver_seen->await([](const auto& r) { return r.peer_heard > 0; }));
    std::promise<void> removed;
    lanes[i].owner.remove(lanes[i].pair.receiver_id, [&] { removed.set_value(); });
    removed.get_future().wait();
  }
  for (std::uint64_t i = 0; i < 8; ++i) {
    if (i % 3 == 0) {
      CHECK(lanes[i].pair.receiver_seen->record().after_gone == 0);
      CHECK(lanes[i].pair.receiver_seen->record().gone == 1);
    } else {
      lanes[i].pair.check_complete();
    }
  }
}

TEST_CASE("worker group: its end lets go of all lanes, with traffic and strays on their way") {
  for (int round = 0; round < 5; ++round) {
    auto group = start_group({"127.0.0.1:0"}, 3, UdpSteering::off);
    const auto client = start_worker({});
    std::deque<PlacedLane> lanes;
    for (std::uint64_t i = 0; i < 6; ++i) {
      lanes.emplace_back(*group, i % 3, i % 3, random_bytes(8 * MiB, i), 100 + i);
      lanes.back().push(*client);
    }
    CHECK(lanes.back().pair.receiver_seen->await([](const auto& r) { return r.peer_heard > 0; }));
    std::atomic<int> carried_out = 0;
    for (std::size_t i = 0; i < 3; ++i) group->at(i).post([&] { ++carried_out; });
    group.reset();
    CHECK(carried_out == 3);
    for (auto& lane : lanes) {
      CHECK(lane.pair.receiver_seen->record().gone == 1);
      CHECK(lane.pair.receiver_seen->record().after_gone == 0);
    }
  }
}

TEST_CASE("worker group: a group of one is a worker like any other") {
  const auto group = start_group({"127.0.0.1:0"}, 1);
  const auto client = start_worker({});
  PlacedLane lane{*group, 0, 0, random_bytes(1'000'000, 1), 1};
  lane.push(*client);
  lane.pair.check_complete();
  CHECK_FALSE(group->fast_paths().steered);
  CHECK(group->trouble().empty());
}

TEST_CASE("worker group: an address that can not be bound is named") {
  const auto first = start_group({"127.0.0.1:0"}, 2);
  WorkerGroupConfig config;
  config.worker.listen = first->local_endpoints();
  config.workers = 2;
  const auto second = WorkerGroup::create(config);
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().message.find(config.worker.listen.front().to_string()) != std::string::npos);
}

TEST_CASE("worker group: busy polling changes when a worker sleeps and nothing else") {
  WorkerGroupConfig config;
  config.worker.listen = {endpoint("127.0.0.1:0")};
  config.worker.busy_poll = std::chrono::microseconds{200};
  config.workers = 2;
  const auto group = WorkerGroup::create(config).value();
  const auto client = start_worker({});
  std::deque<PlacedLane> lanes;
  for (std::uint64_t i = 0; i < 2; ++i) {
    lanes.emplace_back(*group, i, i, random_bytes(2 * MiB, i), 120 + i);
    lanes.back().push(*client);
  }
  for (auto& lane : lanes) lane.pair.check_complete();
  CHECK(group->fast_paths().busy_poll == config.worker.busy_poll);
}

TEST_CASE("worker group: by default as many workers as processors, within bounds") {
  CHECK(WorkerGroup::workers_default() >= 1);
  CHECK(WorkerGroup::workers_default() <= WorkerGroup::workers_max);
}

TEST_CASE("worker: a receive buffer of a few datagrams makes it slower, never wrong") {
  UdpSocketOptions tiny;
  tiny.receive_buffer = 4096;
  tiny.send_buffer = 4096;
  for (const bool offloads : {true, false}) {
    CAPTURE(offloads);
    tiny.gso = offloads;
    tiny.gro = offloads;
    const auto group = start_group({"127.0.0.1:0"}, 2, UdpSteering::automatic, tiny);
    const auto client = start_worker({}, tiny);
    PlacedLane pushed{*group, 0, 0, random_bytes(300'000, 1), 1};
    PlacedLane pulled{*group, 1, 1, random_bytes(300'000, 2), 2};
    pushed.push(*client);
    pulled.pull(*client);
    pushed.pair.check_complete();
    pulled.pair.check_complete();
  }
}

}  // namespace penstock::io
