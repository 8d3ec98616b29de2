#include "control/gate/client_home.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/crypto/random.h"
#include "tests/unit/control/gate/fixtures.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;
using penstock::tests::TempDir;

namespace {

Pin random_pin() { return Pin{crypto::random_array<32>()}; }

KnownDaemon daemon_at(std::string address, std::string user = "ann") {
  return {.pin = random_pin(),
          .other_pins = {},
          .addresses = {std::move(address)},
          .uuid = make_uuid(),
          .user = std::move(user),
          .key_id = "00ff",
          .registered = noon};
}

ClientHome home_in(const TempDir& dir) { return ClientHome::open(dir.path() + "/home").value(); }

}  // namespace

TEST_CASE("client home: what is remembered is found by address, user and key, also by another process") {
  const TempDir dir;
  auto home = home_in(dir);
  auto a = daemon_at("host:7440");
  a.other_pins = {random_pin()};
  auto b = a;
  b.uuid = make_uuid();
  b.user = "bob\xff";
  const auto c = daemon_at("[2001:db8::1]:7440");
  for (const auto& daemon : {a, b, c}) REQUIRE(home.remember(daemon).ok());

  const auto fresh = home_in(dir);
  CHECK(fresh.daemons().value().size() == 3);
  CHECK(fresh.find_by_address("host:7440").value().size() == 2);
  CHECK(fresh.find_by_address("host:7440").value().front().uuid == b.uuid);  // the last registered first
  CHECK(fresh.find_by_address("host:7440", "ann").value() == std::vector{a});
  CHECK(fresh.find_by_address("host:7441").value().empty());
  CHECK(fresh.find_by_pin(a.other_pins[0]).value().size() == 2);
  CHECK(fresh.find_by_pin(c.pin).value() == std::vector{c});
  CHECK(fresh.find_by_pin(random_pin()).value().empty());
}

TEST_CASE("client home: remembering the same registration again replaces it") {
  const TempDir dir;
  auto home = home_in(dir);
  auto a = daemon_at("host:7440");
  REQUIRE(home.remember(a).ok());
  a.user = "new";
  REQUIRE(home.remember(a).ok());
  CHECK(home.daemons().value() == std::vector{a});
}

TEST_CASE("client home: an address leads to one daemon, the one that was last met there") {
  const TempDir dir;
  auto home = home_in(dir);
  const auto a = daemon_at("host:7440");
  const auto b = daemon_at("host:7440");
  REQUIRE(home.remember(a).ok());
  REQUIRE(home.remember(b).ok());
  CHECK(home.find_by_address("host:7440").value() == std::vector{b});
  CHECK(home.find_by_pin(a.pin).value().size() == 1);  // not forgotten, only not there

  REQUIRE(home.note_address(a.pin, "host:7440").ok());
  CHECK(home.find_by_address("host:7440").value().front().uuid == a.uuid);
  for (int i = 0; i < 40; ++i) REQUIRE(home.note_address(a.pin, fmt::format("h{}:1", i)).ok());
  CHECK(home.find_by_pin(a.pin).value().front().addresses.size() == addresses_max);
  CHECK(home.find_by_pin(a.pin).value().front().addresses.front() == "h39:1");
}

TEST_CASE("client home: announced keys are added once, to a bound, and trusted") {
  const TempDir dir;
  auto home = home_in(dir);
  const auto a = daemon_at("host:7440");
  REQUIRE(home.remember(a).ok());
  const auto next = random_pin();
  REQUIRE(home.add_pins(a.pin, {next, next, a.pin}).ok());
  REQUIRE(home.add_pins(next, {next}).ok());
  CHECK(home.daemons().value().front().other_pins == std::vector{next});
  CHECK(home.daemons().value().front().trusts(next));
  for (int i = 0; i < 30; ++i) REQUIRE(home.add_pins(a.pin, {random_pin()}).ok());
  CHECK(home.daemons().value().front().other_pins.size() == 8);
}

TEST_CASE("client home: the key for a token is made once and is for nobody else's eyes; forgetting removes it") {
  const TempDir dir;
  auto home = home_in(dir);
  const auto token = make_token(random_pin(), "");
  const auto key = home.key_for_token(token.id, token.pin);
  REQUIRE(key.ok());
  CHECK(home.key_for_token(token.id, token.pin).value().public_key() == key->public_key());
  const auto id = ClientHome::key_id_for(token.id, token.pin);
  CHECK(id != ClientHome::key_id_for(token.id, random_pin()));
  CHECK(home.load_key(id).value().public_key() == key->public_key());
  const auto file = home.directory() / "keys" / (id + ".pem");
  struct stat info {};
  REQUIRE(::stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);

  auto a = daemon_at("host:7440");
  a.key_id = id;
  auto b = daemon_at("other:7440");
  b.key_id = id;
  REQUIRE(home.remember(a).ok());
  REQUIRE(home.remember(b).ok());
  CHECK(home.forget("host:7440").value() == 1);
  CHECK(std::filesystem::exists(file));  // still b's
  CHECK(home.forget("other:7440").value() == 1);
  CHECK_FALSE(std::filesystem::exists(file));
  CHECK(home.forget("other:7440").value() == 0);
  CHECK(home.load_key(id).error().code == ErrorCode::NOT_FOUND);
}

TEST_CASE("client home: a key that others can read, or that is no key, is CONFIG_INVALID and named") {
  const TempDir dir;
  auto home = home_in(dir);
  std::filesystem::create_directory(home.directory() / "keys");
  const auto file = dir.write("home/keys/abcd.pem", "nonsense");
  REQUIRE(::chmod(file.c_str(), 0600) == 0);
  CHECK(home.load_key("abcd").error().code == ErrorCode::CONFIG_INVALID);
  CHECK(home.load_key("abcd").error().message.find(file) != std::string::npos);
  REQUIRE(::chmod(file.c_str(), 0644) == 0);
  CHECK(home.load_key("abcd").error().message.find("chmod 600") != std::string::npos);
  for (const auto* id : {"", "../../etc/passwd", "ABCX", "ab/cd"})
    CHECK(home.load_key(id).error().code == ErrorCode::CONFIG_INVALID);
}

TEST_CASE("client home: a damaged store is CONFIG_INVALID, named, and left as it is") {
  const TempDir dir;
  auto home = home_in(dir);
  const auto good =
      R"({"version":1,"daemons":[{"pin":"SHA256:)" + std::string(64, '0') +
      R"(","other_pins":[],"addresses":[],"uuid":"01234567-89ab-4cde-8f01-23456789abcd","user":"","key":"00","registered":1}]})";
  dir.write("home/daemons.json", good);
  REQUIRE(::chmod((home.directory() / "daemons.json").c_str(), 0600) == 0);
  REQUIRE(home.daemons().ok());
  std::vector<std::string> bad{"",
                               "[]",
                               "{}",
                               R"({"version":2,"daemons":[]})",
                               R"({"version":1,"daemons":[7]})",
                               R"({"version":"1","daemons":[]})",
                               "\xff\xfe"};
  for (std::size_t size = 1; size < good.size(); size += 7) bad.push_back(good.substr(0, size));
  for (const auto& text : bad) {
    CAPTURE(text);
    dir.write("home/daemons.json", text);
    const auto read = home.daemons();
    REQUIRE(!read.ok());
    CHECK(read.error().code == ErrorCode::CONFIG_INVALID);
    CHECK(read.error().message.find("daemons.json") != std::string::npos);
    const auto written = home.remember(daemon_at("host:1"));
    CHECK(written.error().code == ErrorCode::CONFIG_INVALID);
  }
}

TEST_CASE("client home: processes that write at once lose nothing of each other's") {
  const TempDir dir;
  auto home = home_in(dir);
  constexpr int each = 20;
  std::vector<pid_t> children;
  for (int child = 0; child < 3; ++child) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      auto mine = ClientHome::open(dir.path() + "/home");
      for (int i = 0; i < each; ++i)
        if (!mine->remember(daemon_at(fmt::format("h{}:1", child * each + i)))) ::_exit(1);
      ::_exit(0);
    }
    children.push_back(pid);
  }
  for (const auto pid : children) {
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    CHECK(status == 0);
  }
  CHECK(home.daemons().value().size() == 3 * each);
}

TEST_CASE("client home: PENSTOCK_HOME comes before XDG_CONFIG_HOME before HOME") {
  ::setenv("HOME", "/h", 1);
  ::setenv("XDG_CONFIG_HOME", "/x", 1);
  ::setenv("PENSTOCK_HOME", "/p", 1);
  CHECK(client_home_path().value() == "/p");
  ::unsetenv("PENSTOCK_HOME");
  CHECK(client_home_path().value() == "/x/penstock");
  ::setenv("XDG_CONFIG_HOME", "", 1);
  CHECK(client_home_path().value() == "/h/.config/penstock");
  ::unsetenv("HOME");
  CHECK(client_home_path().error().code == ErrorCode::CONFIG_INVALID);
}

TEST_CASE("client home: addresses have one form") {
  CHECK(address_key("Host.Example", 7440) == "host.example:7440");
  CHECK(address_key("2001:DB8::1", 1) == "[2001:db8::1]:1");
  CHECK(address_key("[fe80::1%eth0]", 1) == "[fe80::1%eth0]:1");
  CHECK(address_key("192.0.2.1", 65535) == "192.0.2.1:65535");
}

TEST_CASE("client home: a home that can not be a directory is refused") {
  const TempDir dir;
  const auto file = dir.write("file", "x");
  CHECK(!ClientHome::open(file).ok());
  CHECK(!ClientHome::open(file + "/below").ok());
}
