#include "netem/emulator/hub.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <vector>

#include "common/random.h"
#include "tests/unit/netem/ip_packets.h"

namespace penstock::netem {
namespace {

using namespace std::chrono_literals;
using test::address;
using test::make_packet;

TimePoint at(Duration since_zero) { return TimePoint{since_zero}; }

HubConfig three_hosts() {
  HubConfig config;
  config.legs.resize(3);
  for (const auto& [text, host] : {std::pair{"10.77.0.1", 0U}, {"10.77.0.2", 1U}, {"10.77.0.3", 2U}}) {
    REQUIRE(config.router.add(address(text), host));
  }
  config.in_flight_packets = 100;
  return config;
}

bool take(Hub& hub, TimePoint now, HostIndex from, const std::vector<std::byte>& packet) {
  std::copy(packet.begin(), packet.end(), hub.inbox().begin());
  return hub.take(now, from, packet.size());
}

struct Arrival {
  TimePoint at;
  HostIndex to;
  std::vector<std::byte> packet;
  bool operator==(const Arrival&) const = default;
};

std::vector<Arrival> arrivals(Hub& hub, TimePoint now) {
  std::vector<Arrival> all;
  while (const auto release = hub.pop_due(now)) {
    all.push_back({release->at, release->to, {release->packet.begin(), release->packet.end()}});
  }
  return all;
}

TEST_CASE("hub: a packet takes the sender's way up, then the receiver's way down") {
  HubConfig config = three_hosts();
  config.legs[0].up.delay = 10ms;
  config.legs[0].down.delay = 500ms;  // the other way: not its
  config.legs[2].up.delay = 500ms;
  config.legs[2].down.delay = 7ms;
  Hub hub{config};
  const auto packet = make_packet({.destination = 3});
  REQUIRE(take(hub, at(1s), 0, packet));
  CHECK(hub.next() == at(1s + 10ms));
  CHECK(arrivals(hub, at(1s + 17ms - 1ns)).empty());
  CHECK(hub.next() == at(1s + 17ms));
  CHECK(arrivals(hub, at(1s + 17ms)) == std::vector{Arrival{at(1s + 17ms), 2, packet}});
  CHECK_FALSE(hub.next());
  CHECK(hub.pool().taken() <= 1);
  CHECK(hub.link(0, Direction::up).counters().delivered_packets == 1);
  CHECK(hub.link(2, Direction::down).counters().delivered_packets == 1);
  CHECK(hub.link(1, Direction::down).counters().offered_packets == 0);
}

TEST_CASE("hub: a packet's times do not depend on how late the loop is") {
  HubConfig config = three_hosts();
  config.legs[0].up = {.delay = 3ms, .jitter = 1ms, .rate = DataRate::megabits_per_second(10)};
  config.legs[1].down = {.delay = 2ms, .rate = DataRate::megabits_per_second(5), .loss = Probability::percent(10)};
  const auto packet = make_packet({.payload = 1000});
  const auto run = [&](Duration step) {
    Hub hub{config};
    std::vector<Arrival> all;
    for (int i = 0; i < 50; ++i) {
      REQUIRE(take(hub, at(i * 1ms), 0, packet));
      if (i % (step / 1ms) != 0) continue;
      for (const auto& arrival : arrivals(hub, at(i * 1ms))) all.push_back(arrival);
    }
    for (const auto& arrival : arrivals(hub, at(10s))) all.push_back(arrival);
    return all;
  };
  const auto prompt = run(1ms);
  CHECK(prompt.size() > 30);
  CHECK(run(20ms) == prompt);
}

TEST_CASE("hub: two senders share the receiver's way down in the order in which they reach the hub") {
  HubConfig config = three_hosts();
  config.legs[0].up.delay = 10ms;
  config.legs[1].up.delay = 4ms;
  config.legs[2].down.rate = DataRate::megabits_per_second(8);  // 1000 bytes a millisecond
  Hub hub{config};
  const auto from_a = make_packet({.payload = 972, .seed = 1, .destination = 3});
  const auto from_b = make_packet({.payload = 972, .seed = 2, .destination = 3});
  REQUIRE(take(hub, at(0ms), 0, from_a));
  REQUIRE(take(hub, at(5ms), 1, from_b));
  const std::vector<Arrival> expected{{at(10ms), 2, from_b}, {at(11ms), 2, from_a}};
  CHECK(arrivals(hub, at(1s)) == expected);
}

TEST_CASE("hub: what is for nobody, or for the sender itself, is told and reaches no link") {
  Hub hub{three_hosts()};
  CHECK_FALSE(take(hub, at(0ms), 0, make_packet({.destination = 9})));
  CHECK_FALSE(take(hub, at(0ms), 0, make_packet({.destination = 1})));
  CHECK_FALSE(take(hub, at(0ms), 0, std::vector<std::byte>(60)));
  CHECK(hub.link(0, Direction::up).counters().offered_packets == 0);
  CHECK_FALSE(hub.next());
}

TEST_CASE("hub: in flight is bounded, the excess is counted, and room comes back") {
  HubConfig config = three_hosts();
  config.legs[0].up.delay = 10ms;
  config.in_flight_packets = 4;
  Hub hub{config};
  for (int i = 0; i < 6; ++i) CHECK(take(hub, at(0ms), 0, make_packet({})));
  CHECK(hub.overflows() == 2);
  CHECK(hub.pool().taken_max() == 4);
  CHECK(arrivals(hub, at(10ms)).size() == 4);
  for (int i = 0; i < 4; ++i) CHECK(take(hub, at(20ms), 0, make_packet({})));
  CHECK(hub.overflows() == 2);
  CHECK(arrivals(hub, at(30ms)).size() == 4);
}

TEST_CASE("hub: copies and damage are each packet's own") {
  HubConfig config = three_hosts();
  config.legs[0].up = {.duplicate = Probability::always(), .corrupt = Probability::percent(50)};
  Hub hub{config};
  const auto packet = make_packet({.payload = 500});
  int sound = 0;
  int damaged = 0;
  for (int i = 0; i < 40; ++i) {
    REQUIRE(take(hub, at(i * 1ms), 0, packet));
    const auto copies = arrivals(hub, at(i * 1ms));
    REQUIRE(copies.size() == 2);
    for (const auto& copy : copies) {
      int bits = 0;
      for (std::size_t j = 0; j < packet.size(); ++j) {
        bits += std::popcount(std::to_integer<unsigned>(packet[j] ^ copy.packet[j]));
      }
      REQUIRE(bits <= 1);
      (bits == 0 ? sound : damaged) += 1;
    }
  }
  CHECK(sound > 20);
  CHECK(damaged > 20);
  CHECK(hub.link(0, Direction::up).counters().corrupted == static_cast<std::uint64_t>(damaged));
  CHECK(hub.overflows() == 0);
}

TEST_CASE("hub: a queue that is too long marks packets of who heeds marks") {
  HubConfig config = three_hosts();
  config.legs[0].up.rate = DataRate::megabits_per_second(8);
  config.legs[0].up.mark_above = 1;
  Hub hub{config};
  auto marked = make_packet({.destination = 2});
  marked[1] = std::byte{2};
  const auto plain = make_packet({.destination = 2});
  for (const auto& packet : {marked, plain, marked}) REQUIRE(take(hub, at(1s), 0, packet));
  const auto all = arrivals(hub, at(2s));
  REQUIRE(all.size() == 3);
  CHECK(all[0].packet == marked);
  CHECK(all[1].packet == plain);
  CHECK(all[2].packet[1] == std::byte{3});
  CHECK(hub.link(0, Direction::up).counters().marked == 1);
}

TEST_CASE("hub: loss gives the room back") {
  HubConfig config = three_hosts();
  config.legs[0].up.loss = Probability::always();
  config.in_flight_packets = 2;
  Hub hub{config};
  for (int i = 0; i < 100; ++i) REQUIRE(take(hub, at(0ms), 0, make_packet({})));
  CHECK(hub.overflows() == 0);
  CHECK(hub.link(0, Direction::up).counters().lost_random == 100);
}

TEST_CASE("hub: one seed gives one fate, another seed another, and no two links share luck") {
  const auto pattern = [](std::uint64_t seed, HostIndex from) {
    HubConfig config = three_hosts();
    config.seed = seed;
    for (auto& leg : config.legs) leg.up.loss = Probability::percent(50);
    Hub hub{config};
    std::vector<bool> arrived;
    const auto packet = make_packet({.destination = 3});
    for (int i = 0; i < 64; ++i) {
      REQUIRE(take(hub, at(i * 1ms), from, packet));
      arrived.push_back(!arrivals(hub, at(i * 1ms)).empty());
    }
    return arrived;
  };
  CHECK(pattern(7, 0) == pattern(7, 0));
  CHECK(pattern(7, 0) != pattern(8, 0));
  CHECK(pattern(7, 0) != pattern(7, 1));
}

TEST_CASE("hub: a change holds for what comes after it") {
  HubConfig config = three_hosts();
  config.legs[0].up.delay = 10ms;
  Hub hub{config};
  REQUIRE(take(hub, at(0ms), 0, make_packet({.seed = 1})));
  LinkSettings down = hub.link(0, Direction::up).settings();
  down.down = true;
  hub.change(0, Direction::up, down);
  REQUIRE(take(hub, at(1ms), 0, make_packet({.seed = 2})));
  CHECK(arrivals(hub, at(1s)).size() == 1);
  CHECK(hub.link(0, Direction::up).counters().lost_down == 1);
}

}  // namespace
}  // namespace penstock::netem
