#include "control/registry/sqlite_registry.h"

#include <doctest/doctest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes/view.h"
#include "common/crypto/random.h"
#include "common/digest/sha256.h"
#include "tests/printers.h"
#include "tests/temp_dir.h"

using namespace penstock;
using namespace penstock::control;
using penstock::tests::TempDir;

namespace {

std::string registry_file(const TempDir& state) { return state.path() + "/registry.db"; }

constexpr UnixSeconds noon{1'700'000'000};
constexpr UnixSeconds after_expiry{noon.value + 3600};

std::unique_ptr<Registry> open_registry(const TempDir& state) {
  auto registry = open_sqlite_registry(state.path());
  if (!registry) FAIL(registry.error().message);
  return *std::move(registry);
}

struct Secret {
  TokenRecord record;
  std::array<std::byte, 32> secret;
};

Secret add_token(Registry& registry, std::string user = "ann", std::vector<Grant> grants = {Grant{}}) {
  Secret token{.record = {.id = {crypto::random_array<8>()},
                          .secret_sha256 = {},
                          .user = std::move(user),
                          .grants = std::move(grants),
                          .created = noon,
                          .expires = after_expiry,
                          .used_by = std::nullopt,
                          .revoked = std::nullopt},
               .secret = crypto::random_array<32>()};
  token.record.secret_sha256 = digest::sha256(token.secret).bytes;
  REQUIRE(registry.add_token(token.record).ok());
  return token;
}

const auto key_a = bytes::as_bytes("public key A");
const auto key_b = bytes::as_bytes("public key B");

Enrolment with(const Secret& token, std::span<const std::byte> key) {
  return {.token = token.record.id, .secret = token.secret, .public_key = key, .client_name = "host"};
}

// Another program's hand on the same file.
void run_sql(const TempDir& state, const char* sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(registry_file(state).c_str(), &db) == SQLITE_OK);
  sqlite3_busy_timeout(db, 5000);
  CHECK(sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
}

}  // namespace

TEST_CASE("registry: a token enrols a client with its user and grants, once") {
  const TempDir state;
  const auto registry = open_registry(state);
  const auto token = add_token(*registry, "ann\n\xff", {parse_grant("rw:/p").value(), parse_grant("r:/q").value()});
  const auto uuid = make_uuid();

  const auto client = registry->enrol(with(token, key_a), uuid, noon).value();
  REQUIRE(client.ok());
  CHECK(client->uuid == uuid);
  CHECK(client->user == "ann\n\xff");
  CHECK(client->grants == token.record.grants);
  CHECK(registry->find_client(uuid).value() == *client);
  CHECK(registry->tokens().value().at(0).used_by == uuid);

  const auto again = registry->enrol(with(token, key_b), make_uuid(), noon).value();
  REQUIRE(!again.ok());
  CHECK(again.error() == TokenRefusal::used);
  CHECK(registry->clients().value().size() == 1);
}

TEST_CASE("registry: the same token with the same key again answers the same client, even when it has expired since") {
  const TempDir state;
  const auto registry = open_registry(state);
  const auto token = add_token(*registry);
  const auto first = registry->enrol(with(token, key_a), make_uuid(), noon).value().value();
  const auto second = registry->enrol(with(token, key_a), make_uuid(), after_expiry).value().value();
  CHECK(first == second);
  CHECK(registry->check_enrolment(with(token, key_a), after_expiry).value().value().registered == first.uuid);
  CHECK(registry->clients().value().size() == 1);
}

TEST_CASE("registry: every reason to refuse a token is told apart, and none of them changes anything") {
  const TempDir state;
  const auto registry = open_registry(state);
  const auto refusal = [&](const Enrolment& enrolment, UnixSeconds now) {
    const auto checked = registry->check_enrolment(enrolment, now).value();
    const auto enrolled = registry->enrol(enrolment, make_uuid(), now).value();
    REQUIRE(!checked.ok());
    REQUIRE(!enrolled.ok());
    CHECK(checked.error() == enrolled.error());
    return checked.error();
  };
  const auto token = add_token(*registry);
  auto unknown = token;
  unknown.record.id.bytes[0] ^= std::byte{1};
  CHECK(refusal(with(unknown, key_a), noon) == TokenRefusal::unknown);
  for (std::size_t i = 0; i < 32; ++i) {
    auto wrong = token;
    wrong.secret[i] ^= std::byte{0x80};
    CHECK(refusal(with(wrong, key_a), noon) == TokenRefusal::wrong_secret);
  }
  CHECK(refusal(with(token, key_a), after_expiry) == TokenRefusal::expired);
  CHECK(registry->check_enrolment(with(token, key_a), {after_expiry.value - 1}).value().ok());

  const auto other = add_token(*registry);
  REQUIRE(registry->enrol(with(other, key_b), make_uuid(), noon).value().ok());
  CHECK(refusal(with(token, key_b), noon) == TokenRefusal::key_in_use);
  CHECK(refusal(with(other, key_a), noon) == TokenRefusal::used);

  REQUIRE(registry->revoke_token(token.record.id, noon).ok());
  CHECK(refusal(with(token, key_a), noon) == TokenRefusal::revoked);
  CHECK(registry->clients().value().size() == 1);
}

TEST_CASE("registry: a revoked client's token does not bring it back") {
  const TempDir state;
  const auto registry = open_registry(state);
  const auto token = add_token(*registry);
  const auto client = registry->enrol(with(token, key_a), make_uuid(), noon).value().value();
  REQUIRE(registry->revoke_client(client.uuid, noon).ok());
  const auto again = registry->enrol(with(token, key_a), make_uuid(), noon).value();
  REQUIRE(!again.ok());
  CHECK(again.error() == TokenRefusal::revoked);
}

TEST_CASE("registry: token use and key activation are one transaction: whatever write fails, neither has happened") {
  for (const char* obstacle : {"CREATE TRIGGER t BEFORE INSERT ON clients BEGIN SELECT RAISE(ABORT, 'no'); END",
                               "CREATE TRIGGER t BEFORE INSERT ON client_grants BEGIN SELECT RAISE(ABORT, 'no'); END",
                               "CREATE TRIGGER t BEFORE UPDATE ON tokens BEGIN SELECT RAISE(ABORT, 'no'); END",
                               "CREATE TRIGGER t BEFORE UPDATE ON changes BEGIN SELECT RAISE(ABORT, 'no'); END"}) {
    CAPTURE(obstacle);
    const TempDir state;
    const auto registry = open_registry(state);
    const auto token = add_token(*registry);
    run_sql(state, obstacle);
    const auto failed = registry->enrol(with(token, key_a), make_uuid(), noon);
    REQUIRE(!failed.ok());
    CHECK(failed.error().code == ErrorCode::IO_ERROR);
    CHECK(registry->clients().value().empty());
    CHECK_FALSE(registry->tokens().value().at(0).used_by);

    run_sql(state, "DROP TRIGGER t");
    CHECK(registry->enrol(with(token, key_a), make_uuid(), noon).value().ok());
  }
}

TEST_CASE("registry: of two processes that use one token at once exactly one wins") {
  for (int round = 0; round < 10; ++round) {
    const TempDir state;
    Secret token;
    {
      const auto registry = open_registry(state);
      token = add_token(*registry);
    }
    const auto attempt = [&](std::span<const std::byte> key) {
      auto registry = open_sqlite_registry(state.path());
      if (!registry) return 3;
      const auto client = (*registry)->enrol(with(token, key), make_uuid(), noon);
      if (!client) return 2;
      return client->ok() ? 0 : 1;
    };
    const pid_t child = ::fork();
    if (child == 0) ::_exit(attempt(key_a));
    const int mine = attempt(key_b);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    const int theirs = WEXITSTATUS(status);
    CHECK(mine + theirs == 1);  // one 0 (won), one 1 (refused as used)
    CHECK(open_registry(state)->clients().value().size() == 1);
  }
}

TEST_CASE("registry: two processes that open a new state directory at once both get a registry") {
  for (int round = 0; round < 20; ++round) {
    const TempDir state;
    const pid_t child = ::fork();
    if (child == 0) {
      auto registry = open_sqlite_registry(state.path());
      ::_exit(registry.ok() && (*registry)->tokens().ok() ? 0 : 1);
    }
    auto registry = open_sqlite_registry(state.path());
    CHECK_MESSAGE(registry.ok(), (registry.ok() ? "" : registry.error().message));
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
}

TEST_CASE("registry: another connection's changes are seen at once, and counted") {
  const TempDir state;
  const auto daemon = open_registry(state);
  const auto before = daemon->change_counter().value();
  const auto token = add_token(*daemon);
  const auto client = daemon->enrol(with(token, key_a), make_uuid(), noon).value().value();
  const auto enrolled = daemon->change_counter().value();
  CHECK(enrolled > before);

  const auto command = open_registry(state);  // `penstockd clients revoke` beside `serve`
  REQUIRE(command->revoke_client(client.uuid, {noon.value + 5}).ok());
  CHECK(daemon->change_counter().value() > enrolled);
  CHECK(daemon->find_client(client.uuid).value()->revoked == UnixSeconds{noon.value + 5});
  // A second revocation does not move the moment of the first.
  REQUIRE(command->revoke_client(client.uuid, {noon.value + 9}).ok());
  CHECK(daemon->find_client(client.uuid).value()->revoked == UnixSeconds{noon.value + 5});
}

TEST_CASE("registry: grants are replaced as a whole, and kept in order") {
  const TempDir state;
  const auto registry = open_registry(state);
  const auto client = registry->enrol(with(add_token(*registry), key_a), make_uuid(), noon).value().value();
  const std::vector<Grant> grants{parse_grant("w:/z").value(), parse_grant("r:/a").value()};
  const auto counter = registry->change_counter().value();
  REQUIRE(registry->set_grants(client.uuid, grants).ok());
  CHECK(registry->find_client(client.uuid).value()->grants == grants);
  CHECK(registry->change_counter().value() > counter);
  const std::vector<Grant> too_many(grants_max + 1, Grant{});
  const auto refused = registry->set_grants(client.uuid, too_many);
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == ErrorCode::USAGE);
  CHECK(registry->find_client(client.uuid).value()->grants == grants);
}

TEST_CASE("registry: what does not exist is NOT_FOUND") {
  const TempDir state;
  const auto registry = open_registry(state);
  CHECK_FALSE(registry->find_client(make_uuid()).value());
  CHECK(registry->revoke_client(make_uuid(), noon).error().code == ErrorCode::NOT_FOUND);
  CHECK(registry->set_grants(make_uuid(), {}).error().code == ErrorCode::NOT_FOUND);
  CHECK(registry->mark_seen(make_uuid(), noon).error().code == ErrorCode::NOT_FOUND);
  CHECK(registry->revoke_token({}, noon).error().code == ErrorCode::NOT_FOUND);
  CHECK(registry->log_transfer_ended({}).error().code == ErrorCode::NOT_FOUND);
}

TEST_CASE("registry: the log of transfers keeps what happened, newest first; a re-attached transfer is one row") {
  const TempDir state;
  const auto registry = open_registry(state);
  TransferRecord row{.id = crypto::random_array<16>(),
                     .client = make_uuid(),
                     .direction = TransferDirection::pull,
                     .path = "/a\n\xfe",
                     .bytes = 0,
                     .files = 0,
                     .started = noon,
                     .ended = std::nullopt,
                     .outcome = ""};
  REQUIRE(registry->log_transfer_started(row).ok());
  auto ended = row;
  ended.bytes = std::uint64_t{1} << 45;
  ended.files = 3;
  ended.ended = after_expiry;
  ended.outcome = "PEER_LOST";
  REQUIRE(registry->log_transfer_ended(ended).ok());
  CHECK(registry->recent_transfers(10).value() == std::vector{ended});
  REQUIRE(registry->log_transfer_started(row).ok());
  CHECK_FALSE(registry->recent_transfers(10).value().at(0).ended);

  auto later = row;
  later.id[0] ^= std::byte{1};
  later.started.value += 1;
  REQUIRE(registry->log_transfer_started(later).ok());
  CHECK(registry->recent_transfers(10).value().at(0).id == later.id);
  CHECK(registry->recent_transfers(1).value().size() == 1);

  CHECK(registry->find_transfer_client(row.id).value() == row.client);
  CHECK_FALSE(registry->find_transfer_client(crypto::random_array<16>()).value());
}

TEST_CASE("registry: everything is there after closing and opening again, in files of mode 0600") {
  const TempDir state;
  Uuid uuid;
  {
    const auto registry = open_registry(state);
    uuid = registry->enrol(with(add_token(*registry), key_a), make_uuid(), noon).value().value().uuid;
    REQUIRE(registry->mark_seen(uuid, noon).ok());
    for (const auto& file : std::filesystem::directory_iterator(state.path())) {
      struct stat info {};
      REQUIRE(::stat(file.path().c_str(), &info) == 0);
      CHECK((info.st_mode & 0777) == 0600);
    }
  }
  const auto client = open_registry(state)->find_client(uuid).value();
  REQUIRE(client);
  CHECK(client->last_seen == noon);
}

TEST_CASE("registry: made by root in another's directory it belongs to that other") {
  if (::geteuid() != 0) return;  // only root can give files away
  const TempDir state;
  constexpr uid_t other = 65534;
  REQUIRE(::chown(state.path().c_str(), other, other) == 0);
  const auto registry = open_registry(state);
  add_token(*registry);
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(state.path())) {
    struct stat info {};
    REQUIRE(::stat(file.path().c_str(), &info) == 0);
    CAPTURE(file.path().string());
    CHECK(info.st_uid == other);
    ++files;
  }
  CHECK(files >= 2);  // the database and its log
}

TEST_CASE("registry: what is no registry, or a newer one, is CONFIG_INVALID and names the file") {
  {
    const TempDir state;
    state.write("registry.db", std::string(8192, 'x'));
    const auto opened = open_sqlite_registry(state.path());
    REQUIRE(!opened.ok());
    CHECK(opened.error().code == ErrorCode::CONFIG_INVALID);
    CHECK(opened.error().message.find("registry.db") != std::string::npos);
  }
  {
    const TempDir state;
    open_registry(state);
    run_sql(state, "PRAGMA user_version = 99");
    const auto opened = open_sqlite_registry(state.path());
    REQUIRE(!opened.ok());
    CHECK(opened.error().code == ErrorCode::CONFIG_INVALID);
  }
  CHECK(!open_sqlite_registry("/nonexistent/state").ok());
}
