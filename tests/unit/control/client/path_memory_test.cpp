#include "control/client/path_memory.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/temp_dir.h"

namespace penstock::control::test {
namespace {

using namespace std::chrono_literals;
using asio::ip::make_address;
using tests::TempDir;

constexpr UnixSeconds now{1'800'000'000};

UnixSeconds later(std::int64_t seconds) { return {now.value + seconds}; }

Pin pin(std::uint8_t number) {
  Pin pin;
  pin.sha256[0] = std::byte{number};
  return pin;
}

DataRate megabits(std::uint64_t n) { return DataRate::megabits_per_second(n); }

PathNews news(std::uint64_t rate, bool filled, bool sent = true) {
  return {.daemon = pin(1),
          .remote = make_address("192.0.2.17"),
          .local = make_address("198.51.100.9"),
          .rtt = 80ms,
          .sent = sent,
          .estimate = engine::PathEstimate{.rate = megabits(rate), .filled = filled}};
}

std::optional<RememberedPath> found(const PathMemory& memory, UnixSeconds at = now) {
  return memory.find(pin(1), make_address("192.0.2.200"), at);
}

std::string contents(const TempDir& home) {
  std::ifstream in(home.path() + "/paths.json", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("path memory: a network is an IPv4 /24 or an IPv6 /48, mapped or not") {
  CHECK(network_of(make_address("192.0.2.17")) == "192.0.2.0/24");
  CHECK(network_of(make_address("::ffff:192.0.2.17")) == "192.0.2.0/24");
  CHECK(network_of(make_address("2001:db8:1:2:3::4")) == "2001:db8:1::/48");
}

TEST_CASE("path memory: what one transfer found, the next one to that network finds again") {
  const TempDir home;
  PathMemory{home.path()}.remember(news(200, true), now);
  const auto path = found(PathMemory{home.path()}, later(60));
  REQUIRE(path);
  CHECK(path->rtt == 80ms);
  CHECK(path->from == "198.51.100.0/24");
  CHECK(path->up == RememberedRate{megabits(200), now});
  CHECK(!path->down);
  CHECK(!PathMemory{home.path()}.find(pin(2), make_address("192.0.2.17"), now));
  CHECK(!PathMemory{home.path()}.find(pin(1), make_address("192.0.3.17"), now));
}

TEST_CASE("path memory: the directions of a path are remembered apart") {
  const TempDir home;
  const PathMemory memory{home.path()};
  memory.remember(news(200, true), now);
  memory.remember(news(20, true, false), later(1));
  const auto path = found(memory, later(2));
  REQUIRE(path);
  CHECK(path->up == RememberedRate{megabits(200), now});
  CHECK(path->down == RememberedRate{megabits(20), later(1)});
}

TEST_CASE("path memory: a transfer too small to fill the path takes nothing back, one that filled it does") {
  const TempDir home;
  const PathMemory memory{home.path()};
  memory.remember(news(200, true), now);
  memory.remember(news(5, false), later(10));
  CHECK(found(memory, later(10))->up == RememberedRate{megabits(200), now});
  memory.remember(news(300, false), later(20));
  CHECK(found(memory, later(20))->up == RememberedRate{megabits(300), later(20)});
  memory.remember(news(50, true), later(30));
  CHECK(found(memory, later(30))->up == RememberedRate{megabits(50), later(30)});
  PathNews unknown = news(0, false);
  unknown.estimate.reset();
  unknown.rtt = 90ms;
  memory.remember(unknown, later(40));
  CHECK(found(memory, later(40))->up == RememberedRate{megabits(50), later(30)});
  CHECK(found(memory, later(40))->rtt == 90ms);
}

TEST_CASE("path memory: a week later a path is forgotten, and a rate that no transfer has confirmed") {
  const TempDir home;
  const PathMemory memory{home.path()};
  memory.remember(news(200, true), now);
  CHECK(found(memory, later(path_age_max)));
  CHECK(!found(memory, later(path_age_max + 1)));
  CHECK(!found(memory, later(-1)));  // the clock was set back
  memory.remember(news(5, false), later(1000));
  const auto path = found(memory, later(path_age_max + 1));
  REQUIRE(path);
  CHECK(!path->up);
}

TEST_CASE("path memory: what was lost is remembered, but of enough packets alone, and no more than all of them") {
  const TempDir home;
  const PathMemory memory{home.path()};
  const auto lose = [&](std::uint64_t lost, std::uint64_t sent, std::int64_t at) {
    PathNews lossy = news(200, true);
    lossy.packets_lost = lost;
    lossy.packets_sent = sent;
    memory.remember(lossy, later(at));
    return found(memory, later(at))->loss_permille;
  };
  CHECK(lose(0, 0, 0) == 0);
  CHECK(lose(5000, loss_packets_min - 1, 1) == 0);
  CHECK(lose(3500, loss_packets_min, 2) == 250);
  CHECK(lose(0, 10, 3) == 250);
  CHECK(lose(loss_packets_min + 1, loss_packets_min, 4) == 250);
  CHECK(lose(1000, 100'000, 5) == 0);  // one flight, at the start
}

TEST_CASE("path memory: a file from before losses were remembered is read as of paths that lose nothing") {
  const TempDir home;
  const PathMemory memory{home.path()};
  memory.remember(news(200, true), now);
  auto text = contents(home);
  const std::string member = "\"loss_permille\": 0,";
  const auto at = text.find(member);
  REQUIRE(at != std::string::npos);
  std::ofstream{home.path() + "/paths.json", std::ios::binary} << text.erase(at, member.size());
  REQUIRE(found(memory));
  CHECK(found(memory)->loss_permille == 0);
  CHECK(found(memory)->up == RememberedRate{megabits(200), now});
}

TEST_CASE("path memory: from another network the rates begin anew") {
  const TempDir home;
  const PathMemory memory{home.path()};
  memory.remember(news(200, true), now);
  PathNews moved = news(3, false);
  moved.local = make_address("203.0.113.5");
  memory.remember(moved, later(5));
  CHECK(found(memory, later(5))->up == RememberedRate{megabits(3), later(5)});
}

TEST_CASE("path memory: holds so many paths, and lets go of those unseen for longest") {
  const TempDir home;
  const PathMemory memory{home.path()};
  PathNews each = news(10, true);
  for (std::size_t i = 0; i < paths_remembered_max + 2; ++i) {
    each.remote = make_address("10.1." + std::to_string(i % 256) + ".1");
    each.daemon = pin(static_cast<std::uint8_t>(i / 256));
    memory.remember(each, later(static_cast<std::int64_t>(i)));
    if (i == 2) {  // the first one is seen once more
      each.remote = make_address("10.1.0.1");
      memory.remember(each, later(3));
    }
  }
  const auto at = later(1000);
  CHECK(memory.find(pin(0), make_address("10.1.0.1"), at));
  CHECK(!memory.find(pin(0), make_address("10.1.1.1"), at));
  CHECK(!memory.find(pin(0), make_address("10.1.2.1"), at));
  CHECK(memory.find(pin(0), make_address("10.1.3.1"), at));
  CHECK(memory.find(pin(1), make_address("10.1.1.1"), at));
}

TEST_CASE("path memory: a file that is not ours is forgotten, and the next transfer writes a good one") {
  const char* const wrong[] = {"",
                               "{",
                               "[]",
                               "null",
                               R"({"version":2,"paths":[]})",
                               R"({"version":1})",
                               R"({"version":1,"paths":[7]})",
                               R"({"version":1,"paths":[{"daemon":"SHA256:00"}]})",
                               R"({"version":"1","paths":{}})"};
  for (const char* text : wrong) {
    CAPTURE(text);
    const TempDir home;
    home.write("paths.json", text);
    const PathMemory memory{home.path()};
    CHECK(!found(memory));
    memory.remember(news(200, true), now);
    CHECK(found(memory));
  }
}

TEST_CASE("path memory: every file cut short is as good as none, and numbers beyond any path are") {
  const TempDir home;
  const PathMemory memory{home.path()};
  memory.remember(news(200, true), now);
  const std::string whole = contents(home);
  for (std::size_t size = 0; size + 2 < whole.size(); ++size) {
    home.write("paths.json", whole.substr(0, size));
    CHECK(!found(memory));
  }
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = whole;
    const auto at = text.find(from);
    REQUIRE(at != std::string::npos);
    home.write("paths.json", text.replace(at, from.size(), to));
  };
  with("200000000", "2000000000001");
  REQUIRE(found(memory));
  CHECK(!found(memory)->up);
  with("\"rtt_us\": 80000", "\"rtt_us\": 0");
  CHECK(!found(memory));
  with("\"rtt_us\": 80000", "\"rtt_us\": 60000001");
  CHECK(!found(memory));
}

TEST_CASE("path memory: a home that can not be written to keeps nobody from a transfer") {
  const PathMemory memory{"/proc/self/no-such-home"};
  memory.remember(news(200, true), now);
  CHECK(!found(memory));
}

TEST_CASE("path memory: a rate counts from where it was found, at much the same round trip") {
  const TempDir home;
  const PathMemory memory{home.path()};
  memory.remember(news(200, true), now);
  const auto path = found(memory);
  REQUIRE(path);
  const auto here = make_address("198.51.100.77");
  CHECK(rate_to_resume(*path, true, here, 80ms) == megabits(200));
  CHECK(rate_to_resume(*path, true, here, 40ms) == megabits(200));
  CHECK(rate_to_resume(*path, true, here, 160ms) == megabits(200));
  CHECK(!rate_to_resume(*path, true, here, 39ms));
  CHECK(!rate_to_resume(*path, true, here, 161ms));
  CHECK(!rate_to_resume(*path, true, make_address("203.0.113.5"), 80ms));
  CHECK(!rate_to_resume(*path, false, here, 80ms));  // only the way up is known
}

}  // namespace penstock::control::test
