#include "netem/emulator/emulator_config.h"

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "netem/emulator/command_lines.h"
#include "tests/unit/netem/ip_packets.h"

namespace penstock::netem {
namespace {

using namespace std::chrono_literals;

EmulatorWords two_hosts() {
  EmulatorWords words;
  words.hosts = {"A:ns=/proc/1/ns/net,address=10.77.0.1,address=fd77::1",
                 "B:ns=/proc/2/ns/net,device=x1,address=10.77.0.2/30"};
  return words;
}

TEST_CASE("emulator options: hosts, legs and changes mean what they say") {
  EmulatorWords words = two_hosts();
  words.legs = {"A:up:rate=10mbit,delay=25ms,queue=1bdp", "A:both:loss=1%", "A:down:delay=5ms"};
  words.changes = {"A:up@20s:loss=0", "A:both@10s:loss=5%,delay=80ms"};
  words.seed = 9;
  words.reach = "application";
  words.memory = "3MiB";
  const auto config = read_emulator_config(words);
  REQUIRE(config);
  REQUIRE(config->hosts.size() == 2);
  CHECK(config->hosts[0].name == "A");
  CHECK(config->hosts[0].device.namespace_path == "/proc/1/ns/net");
  CHECK(config->hosts[0].device.device == "lab0");
  CHECK(config->hosts[0].device.addresses ==
        std::vector<InterfaceAddress>{{test::address("10.77.0.1"), true, 24}, {test::address("fd77::1"), false, 64}});
  CHECK(config->hosts[1].device.device == "x1");
  CHECK(config->hosts[1].device.addresses[0].prefix_length == 30);
  CHECK(config->hub.legs[0].up.delay == 25ms);
  CHECK(config->hub.legs[0].up.loss == Probability::percent(1));
  CHECK(config->hub.legs[0].up.queue.bytes == 62'500);
  CHECK(config->hub.legs[0].down.delay == 5ms);
  CHECK(config->hub.legs[1].up == LinkSettings{});
  REQUIRE(config->changes.size() == 2);
  CHECK(config->changes[0].after == 10s);
  CHECK(config->changes[0].target.directions.size() == 2);
  CHECK(config->changes[1].after == 20s);
  CHECK(config->hub.seed == 9);
  CHECK(config->hub.reach == CorruptReach::application);
  CHECK(config->hub.in_flight_packets == 3 * 1024 * 1024 / 1500);
}

TEST_CASE("emulator options: what makes no sense is refused, by USAGE and with its name") {
  struct Case {
    std::function<void(EmulatorWords&)> spoil;
    std::string names;
  };
  const std::vector<Case> cases{
      {[](auto& w) { w.hosts.pop_back(); }, "--host twice"},
      {[](auto& w) { w.hosts[1] = w.hosts[0]; }, "two hosts A"},
      {[](auto& w) { w.hosts[1] = "B:ns=/x,address=10.77.0.1"; }, "another one has already"},
      {[](auto& w) { w.hosts[1] = "B:address=10.77.0.2"; }, "ns= is missing"},
      {[](auto& w) { w.hosts[1] = "B:ns=/x"; }, "address= is missing"},
      {[](auto& w) { w.hosts[1] = "B:ns=/x,address=10.77.0.300"; }, "10.77.0.300"},
      {[](auto& w) { w.hosts[1] = "B:ns=/x,address=10.77.0.2/33"; }, "/33"},
      {[](auto& w) { w.hosts[1] = "B:ns=/x,address=fd77::2/0"; }, "/0"},
      {[](auto& w) { w.hosts[1] = "B:ns=/x,address=10.77.0.2,device=sixteencharacter"; }, "sixteencharacter"},
      {[](auto& w) { w.hosts[1] = "B:ns=/x,colour=red"; }, "colour=red"},
      {[](auto& w) { w.hosts[1] = "B/:ns=/x,address=10.77.0.2"; }, "B/"},
      {[](auto& w) { w.legs = {"C:up:loss=1%"}; }, "no host 'C'"},
      {[](auto& w) { w.legs = {"A:sideways:loss=1%"}; }, "sideways"},
      {[](auto& w) { w.legs = {"A:up:loss=101%"}; }, "101%"},
      {[](auto& w) { w.legs = {"A:up"}; }, "--leg 'A:up'"},
      {[](auto& w) { w.legs = {"A:up:queue=1bdp"}; }, "needs a rate and a delay"},
      {[](auto& w) { w.changes = {"A:up:loss=1%"}; }, "A:up@10s"},
      {[](auto& w) { w.changes = {"A:up@soon:loss=1%"}; }, "soon"},
      {[](auto& w) { w.changes = {"A:up@1s:queue=1bdp"}; }, "needs a rate and a delay"},
      {[](auto& w) { w.mtu = 1279; }, "--mtu 1279"},
      {[](auto& w) { w.mtu = 65536; }, "--mtu 65536"},
      {[](auto& w) { w.tun_queue = 0; }, "--tun-queue 0"},
      {[](auto& w) { w.memory = "15000"; }, "--memory 15000"},
      {[](auto& w) { w.memory = "lots"; }, "lots"},
      {[](auto& w) { w.reach = "moon"; }, "moon"},
      {[](auto& w) { w.scheduling = "fast"; }, "fast"},
  };
  for (const Case& item : cases) {
    EmulatorWords words = two_hosts();
    item.spoil(words);
    const auto config = read_emulator_config(words);
    INFO("wanted: ", item.names);
    REQUIRE_FALSE(config);
    CHECK(config.error().code == ErrorCode::USAGE);
    CHECK(config.error().message.find(item.names) != std::string::npos);
  }
}

TEST_CASE("emulator options: a change may build on an earlier one, wherever it is written") {
  EmulatorWords words = two_hosts();
  words.changes = {"A:up@20s:queue=1bdp", "A:up@10s:rate=10mbit,delay=20ms"};
  CHECK(read_emulator_config(words));
}

TEST_CASE("emulator commands: set names a host, a direction and words") {
  const auto config = read_emulator_config(two_hosts());
  REQUIRE(config);
  const auto change = parse_set("B both loss=5%,delay=80ms", config->hosts);
  REQUIRE(change);
  CHECK(change->target.host == 1);
  CHECK(change->target.directions == std::vector{Direction::up, Direction::down});
  CHECK(change->words == LinkWords{{"loss", "5%"}, {"delay", "80ms"}});
  CHECK(change->text == "loss=5%,delay=80ms");
  for (const char* wrong : {"", "B", "B up", "B up ", "C up loss=1%", "B left loss=1%", "B  up loss=1%"}) {
    CHECK_FALSE(parse_set(wrong, config->hosts));
  }
}

TEST_CASE("emulator commands: lines are cut wherever the bytes come apart") {
  const std::string text = "start\nset A up loss=5%\r\n\ncounters";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    CommandLines lines;
    std::vector<std::string> out;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      lines.append(std::string_view{text}.substr(at, piece));
      while (auto line = lines.next()) out.push_back(*line);
    }
    CHECK(out == std::vector<std::string>{"start", "set A up loss=5%", ""});
    CHECK(lines.rest() == "counters");
    CHECK_FALSE(lines.rest());
  }
}

TEST_CASE("emulator commands: an endless line is answered once, cut, and what follows it is heard") {
  CommandLines lines;
  std::size_t answers = 0;
  for (int i = 0; i < 10; ++i) {
    lines.append(std::string(4096, 'x'));
    while (const auto line = lines.next()) {
      CHECK(line->size() == CommandLines::line_size_max);
      ++answers;
    }
  }
  CHECK(answers == 1);
  lines.append("\nstart\n");
  CHECK(lines.next() == "start");
  CHECK_FALSE(lines.next());
}

}  // namespace
}  // namespace penstock::netem
