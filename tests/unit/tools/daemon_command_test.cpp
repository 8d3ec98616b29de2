#include "tools/cli/read_daemon_command.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "tests/unit/tools/words.h"
#include "tools/cli/penstockd_table.h"

namespace penstock::tools {
namespace {

using namespace std::chrono_literals;

Result<DaemonCommand> read(const std::string& line, const std::string& config = "") {
  const auto words = test::words_of(line);
  const auto outcome = parse_words(penstockd_table, words);
  if (outcome.error) FAIL(outcome.error->message);
  const auto file = parse_daemon_config(config, "penstockd.toml");
  if (!file) FAIL(file.error().message);
  return read_daemon_command(outcome.words, *file, test::environment_of({{"STATE_DIRECTORY", "/nonexistent/state"}}));
}
template <class Action>
Action action(const std::string& line, const std::string& config = "") {
  auto command = read(line, config);
  if (!command) FAIL(command.error().message);
  REQUIRE(std::holds_alternative<Action>(command->action));
  return std::get<Action>(command->action);
}
Error refusal(const std::string& line, const std::string& config = "") {
  const auto command = read(line, config);
  REQUIRE_FALSE(command);
  return command.error();
}

TEST_CASE("daemon command: serve needs a root, and has defaults for all else") {
  const auto serve = action<ServeCommand>("serve --root /usr");
  CHECK(serve.server.root == "/usr");
  CHECK(serve.server.state == "/nonexistent/state");
  REQUIRE(serve.server.listen.size() == 1);
  CHECK(serve.server.listen[0].address == "::");
  CHECK(serve.server.listen[0].port == 7440);
  CHECK(serve.log_format == LogFormat::text);
  CHECK_FALSE(serve.server.rate_cap);
  CHECK_FALSE(serve.server.shuffle_chunks);
  CHECK(refusal("serve").code == ErrorCode::USAGE);
  CHECK(refusal("serve --root=").code == ErrorCode::USAGE);
}

TEST_CASE("daemon command: options beat the file") {
  const std::string config =
      "root = \"/nonexistent\"\nlisten = [\"127.0.0.1:1\", \"[::1]:2\"]\nlog_format = \"json\"\nrate_cap = \"1G\"\n"
      "sessions_max = 5\npartial_ttl = \"2d\"\nchunk_order = \"shuffled\"\nstate = \"/nonexistent/other\"\n";
  const auto serve = action<ServeCommand>("serve --root /usr", config);
  CHECK(serve.server.root == "/usr");
  CHECK(serve.server.state == "/nonexistent/other");
  REQUIRE(serve.server.listen.size() == 2);
  CHECK(serve.server.listen[1].port == 2);
  CHECK(serve.log_format == LogFormat::json);
  CHECK(serve.server.rate_cap == DataRate::bits_per_second(1'000'000'000));
  CHECK(serve.server.sessions_max == 5);
  CHECK(serve.server.partial_ttl == 48h);
  CHECK(serve.server.shuffle_chunks);
  const auto options = action<ServeCommand>(
      "serve --root /usr --listen 127.0.0.1:0 --log-format text --state /nonexistent/s --udp-advertise h.example.org:9",
      config);
  CHECK(options.server.listen.size() == 1);
  CHECK(options.log_format == LogFormat::text);
  CHECK(options.server.state == "/nonexistent/s");
  CHECK(options.server.udp_advertise->host == "h.example.org");
  CHECK(options.server.udp_advertise->port == 9);
}

TEST_CASE("daemon command: nothing is discarded unless somebody says so, in the file or on the command line") {
  CHECK_FALSE(action<ServeCommand>("serve --root /usr").server.discard);
  CHECK_FALSE(action<ServeCommand>("serve --root /usr", "discard = false\n").server.discard);
  CHECK(action<ServeCommand>("serve --root /usr", "discard = true\n").server.discard);
  CHECK(action<ServeCommand>("serve --root /usr --discard", "discard = false\n").server.discard);
}

TEST_CASE("daemon command: workers and fast paths are the machine's to choose, unless somebody says otherwise") {
  const auto plain = action<ServeCommand>("serve --root /usr").server;
  CHECK_FALSE(plain.workers);
  CHECK(plain.busy_poll == Duration{});
  CHECK(plain.udp_offload);
  CHECK(plain.udp_steering);
  const std::string config = "workers = 4\nbusy_poll = \"50us\"\nudp_offload = \"off\"\nudp_steering = \"off\"\n";
  const auto told = action<ServeCommand>("serve --root /usr", config).server;
  CHECK(told.workers == 4);
  CHECK(told.busy_poll == 50us);
  CHECK_FALSE(told.udp_offload);
  CHECK_FALSE(told.udp_steering);
  const auto option = action<ServeCommand>("serve --root /usr --workers 16 --busy-poll 0", config).server;
  CHECK(option.workers == 16);
  CHECK(option.busy_poll == Duration{});
  for (const auto* words : {"--workers 0", "--workers 17", "--workers many", "--busy-poll 11ms", "--busy-poll 5"}) {
    INFO(words);
    CHECK(refusal("serve --root /usr " + std::string{words}).code == ErrorCode::USAGE);
  }
  CHECK(refusal("serve --root /usr", "udp_offload = \"on\"\n").code == ErrorCode::CONFIG_INVALID);
}

TEST_CASE("daemon command: what serve can not use is refused, with its place") {
  CHECK(refusal("serve --root /nonexistent").code == ErrorCode::CONFIG_INVALID);
  CHECK(refusal("serve --root /usr --state /usr/state").code == ErrorCode::CONFIG_INVALID);
  CHECK(refusal("serve --root /usr/include --state /usr").code == ErrorCode::CONFIG_INVALID);
  CHECK(refusal("serve --root /usr --listen 7440").code == ErrorCode::USAGE);
  CHECK(refusal("serve --root /usr --cert c").code == ErrorCode::USAGE);
  CHECK(refusal("serve --root /usr --key k").code == ErrorCode::USAGE);
  CHECK(refusal("serve --root /usr --udp-advertise h").code == ErrorCode::USAGE);
  CHECK(refusal("serve --root /usr --log-format xml").code == ErrorCode::USAGE);
  const auto file = refusal("serve --root /usr", "\nsessions_max = 0\n");
  CHECK(file.code == ErrorCode::CONFIG_INVALID);
  CHECK(file.message.starts_with("penstockd.toml:2: `sessions_max`: "));
}

TEST_CASE("daemon command: check-config reads what serve would read") {
  CHECK(action<CheckConfigCommand>("check-config", "root = \"/usr\"\n").serve.server.root == "/usr");
  CHECK(refusal("check-config", "root = \"/usr\"\nlisten = [\"x\"]\n").code == ErrorCode::CONFIG_INVALID);
}

TEST_CASE("daemon command: a token has a user, a life and grants; without a grant it opens everything and says so") {
  const auto plain = action<TokenCommand>("token --user ann");
  CHECK(plain.user == "ann");
  CHECK(plain.ttl == 24h);
  CHECK(plain.grants_defaulted);
  REQUIRE(plain.grants.size() == 1);
  CHECK(control::to_string(plain.grants[0]) == "rw:/");
  const auto narrow = action<TokenCommand>("token --user ann --grant r:/a --grant w:/b --ttl 15m");
  CHECK_FALSE(narrow.grants_defaulted);
  CHECK(narrow.grants.size() == 2);
  CHECK(narrow.ttl == 15min);
  for (const auto* line :
       {"token", "token --user a/b", "token --user -x", "token --user a --grant x:/", "token --user a --grant rw",
        "token --user a --grant rw:a", "token --user a --grant r:/../x", "token --user a --ttl 0",
        "token --user a --ttl 5", "token --user=", "token --user a --grant=", "token --user .hidden"}) {
    INFO(line);
    CHECK(refusal(line).code == ErrorCode::USAGE);
  }
}

TEST_CASE("daemon command: clients and tokens are named by their ids") {
  const std::string uuid = "01234567-89ab-4cde-8f01-23456789abcd";
  CHECK(control::to_string(action<ClientsRevokeCommand>("clients revoke " + uuid).uuid) == uuid);
  CHECK(action<ClientsGrantCommand>("clients grant " + uuid + " rw:/a r:/b").grants.size() == 2);
  CHECK(control::to_string(action<TokensRevokeCommand>("tokens revoke 0123456789abcdef").id) == "0123456789abcdef");
  CHECK(refusal("clients revoke x").code == ErrorCode::USAGE);
  CHECK(refusal("clients grant " + uuid + " x").code == ErrorCode::USAGE);
  CHECK(refusal("tokens revoke 01").code == ErrorCode::USAGE);
}

}  // namespace
}  // namespace penstock::tools
