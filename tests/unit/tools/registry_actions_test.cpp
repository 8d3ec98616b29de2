#include "tools/run/registry_actions.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "control/gate/identity.h"
#include "control/gate/token.h"
#include "control/registry/sqlite_registry.h"
#include "tools/run/serving_pin.h"

namespace penstock::tools {
namespace {

using nlohmann::json;

/// A state directory that is gone at the end, and commands run on it.
class State {
 public:
  State() {
    std::string pattern = (std::filesystem::temp_directory_path() / "penstock-tools-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern + "/state";
  }
  ~State() { std::filesystem::remove_all(std::filesystem::path{directory_}.parent_path()); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  [[nodiscard]] const std::string& directory() const { return directory_; }
  void make() const { REQUIRE(std::filesystem::create_directory(directory_)); }

  /// The JSON lines of the command, without start; the last is done or error.
  std::vector<json> run(decltype(DaemonCommand::action) action) {
    int ends[2] = {-1, -1};
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    {
      Output out{{.program = "penstockd",
                  .json = true,
                  .verbosity = Verbosity::quiet,
                  .answers_fd = ends[1],
                  .messages_fd = -1}};
      out.start("x", "");
      const Status status = run_registry_action({.state = directory_, .action = std::move(action)}, out);
      if (status) {
        out.done([](JsonLine&) {});
      } else {
        out.error(status.error());
      }
    }
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<std::size_t>(got));
    ::close(ends[0]);
    ::close(ends[1]);
    std::istringstream in{text};
    std::vector<json> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
    lines.erase(lines.begin());
    return lines;
  }

 private:
  std::string directory_;
};

TokenCommand token_for(std::string user) {
  TokenCommand out;
  out.user = std::move(user);
  out.grants = {*control::parse_grant("rw:/in"), *control::parse_grant("r:/out")};
  out.ttl = std::chrono::hours{1};
  return out;
}

TEST_CASE("registry actions: a token vouches for the daemon's key, and only its digest is kept") {
  State state;
  const auto lines = state.run(token_for("ann"));
  REQUIRE(lines.size() == 2);
  CHECK(lines[1]["event"] == "done");
  const auto token = control::decode_token(lines[0]["token"].get<std::string>());
  REQUIRE(token);
  const auto identity = control::Identity::load_or_create(state.directory());
  REQUIRE(identity);
  CHECK(token->pin == identity->pin());
  const auto registry = control::open_sqlite_registry(state.directory());
  REQUIRE(registry);
  const auto records = (*registry)->tokens();
  REQUIRE(records);
  REQUIRE(records->size() == 1);
  CHECK(records->front().id == token->id);
  CHECK(records->front().secret_sha256 == control::token_secret_digest(token->secret.view()));
  CHECK(records->front().expires.value - records->front().created.value == 3600);
  CHECK(records->front().grants.size() == 2);
}

TEST_CASE("registry actions: the state directory is made for the owner alone") {
  State state;
  state.run(token_for("ann"));
  const auto mode = std::filesystem::status(state.directory()).permissions();
  CHECK((mode & std::filesystem::perms::mask) == std::filesystem::perms::owner_all);
}

TEST_CASE("registry actions: tokens are listed without their secrets and can be revoked") {
  State state;
  state.run(token_for("ann"));
  const auto listed = state.run(TokensListCommand{});
  REQUIRE(listed.size() == 2);
  CHECK(listed[0]["user"] == "ann");
  CHECK(listed[0]["standing"] == "open");
  CHECK(listed[0]["grants"] == json{"rw:/in", "r:/out"});
  CHECK_FALSE(listed[0].contains("token"));
  const auto id = control::parse_token_id(listed[0]["id"].get<std::string>());
  REQUIRE(id);
  CHECK(state.run(TokensRevokeCommand{*id}).back()["event"] == "done");
  CHECK(state.run(TokensListCommand{})[0]["standing"] == "revoked");
}

TEST_CASE("registry actions: ids that nobody has are NOT_FOUND, with the command that shows those there are") {
  State state;
  state.make();
  const auto client = state.run(ClientsRevokeCommand{control::make_uuid()}).back();
  CHECK(client["name"] == "NOT_FOUND");
  CHECK(client["message"].get<std::string>().find("clients list") != std::string::npos);
  CHECK(state.run(ClientsGrantCommand{control::make_uuid(), {}}).back()["name"] == "NOT_FOUND");
  CHECK(state.run(TokensRevokeCommand{}).back()["name"] == "NOT_FOUND");
  CHECK(state.run(ClientsListCommand{}).size() == 1);
}

TEST_CASE("registry actions: a client's grants are replaced, and its revocation shows") {
  State state;
  const auto made = state.run(token_for("ann"));
  const auto token = control::decode_token(made[0]["token"].get<std::string>());
  REQUIRE(token);
  const control::Uuid uuid = control::make_uuid();
  {
    const auto registry = control::open_sqlite_registry(state.directory());
    REQUIRE(registry);
    const std::vector<std::byte> key(64, std::byte{7});
    const auto enrolled = (*registry)->enrol({token->id, token->secret.view(), key, "a\nhost"}, uuid,
                                             {(*(*registry)->tokens())[0].created});
    REQUIRE(enrolled);
    REQUIRE(*enrolled);
  }
  CHECK(state.run(ClientsGrantCommand{uuid, {*control::parse_grant("w:/drop")}}).back()["event"] == "done");
  CHECK(state.run(ClientsRevokeCommand{uuid}).back()["event"] == "done");
  const auto listed = state.run(ClientsListCommand{});
  REQUIRE(listed.size() == 2);
  CHECK(listed[0]["uuid"] == control::to_string(uuid));
  CHECK(listed[0]["grants"] == json{"w:/drop"});
  CHECK(listed[0]["revoked"] == true);
  CHECK(listed[0]["name"] == "a\nhost");
}

TEST_CASE("registry actions: a token vouches for the key that the last serve showed") {
  State state;
  state.make();
  const std::string pin = "SHA256:" + std::string(64, 'c');
  REQUIRE(note_serving_pin(state.directory(), pin));
  const auto token = control::decode_token(state.run(token_for("ann"))[0]["token"].get<std::string>());
  REQUIRE(token);
  CHECK(control::to_string(token->pin) == pin);
  REQUIRE(note_serving_pin(state.directory(), "nonsense"));
  CHECK(state.run(token_for("ann")).back()["name"] == "CONFIG_INVALID");
}

TEST_CASE("registry actions: only token makes a state directory; a misspelt one is refused by name, and not made") {
  State state;
  const control::Uuid uuid = control::make_uuid();
  const std::vector<decltype(DaemonCommand::action)> actions{TokensListCommand{}, TokensRevokeCommand{},
                                                             ClientsListCommand{}, ClientsGrantCommand{uuid, {}},
                                                             ClientsRevokeCommand{uuid}};
  for (const auto& action : actions) {
    const auto error = state.run(action).back();
    CHECK(error["name"] == "CONFIG_INVALID");
    CHECK(error["exit"] == 2);
    CHECK(error["path"] == state.directory());
    CHECK(error["message"].get<std::string>().find(state.directory()) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(state.directory()));
  }
  CHECK(state.run(token_for("ann")).back()["event"] == "done");
  CHECK(state.run(TokensListCommand{}).back()["event"] == "done");
}

TEST_CASE("registry actions: a state directory that is a file is refused by name") {
  State state;
  const int fd = ::open(state.directory().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  REQUIRE(fd >= 0);
  ::close(fd);
  const auto error = state.run(TokensListCommand{}).back();
  CHECK(error["event"] == "error");
  CHECK(error["message"].get<std::string>().find("state") != std::string::npos);
}

}  // namespace
}  // namespace penstock::tools
