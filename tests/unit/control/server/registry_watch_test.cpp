#include "control/server/registry_watch.h"

#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "tests/unit/control/gate/fixtures.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

// The promise is PROTOCOL's, the numbers are ours: seen after one period at most, out after the last word.
static_assert(RegistryWatch::period + RegistryWatch::last_word_max <= std::chrono::seconds{1});

namespace {

struct FakeSession {
  explicit FakeSession(const Uuid& client) : uuid(client) {}
  [[nodiscard]] const Uuid& client() const { return uuid; }
  void refresh(const ClientRecord& record) { heard.push_back(record); }

  Uuid uuid;
  std::vector<ClientRecord> heard;
};
using Sessions = std::array<FakeSession*, 2>;

/// A store that many share, as SQLite's file is, and that can be out of order for a while.
class FlakyRegistry final : public Registry {
 public:
  explicit FlakyRegistry(Registry& behind) : behind_(behind) {}
  bool readable = true;

  Result<std::optional<ClientRecord>> find_client(const Uuid& uuid) override {
    if (!readable) return Error{ErrorCode::IO_ERROR, "the disk is away"};
    return behind_.find_client(uuid);
  }
  Result<std::uint64_t> change_counter() override { return behind_.change_counter(); }

  Status add_token(const TokenRecord& token) override { return behind_.add_token(token); }
  Result<std::vector<TokenRecord>> tokens() override { return behind_.tokens(); }
  Status revoke_token(const TokenId& id, UnixSeconds now) override { return behind_.revoke_token(id, now); }
  Result<TokenVerdict<TokenStanding>> check_enrolment(const Enrolment& enrolment, UnixSeconds now) override {
    return behind_.check_enrolment(enrolment, now);
  }
  Result<TokenVerdict<ClientRecord>> enrol(const Enrolment& enrolment, const Uuid& fresh, UnixSeconds now) override {
    return behind_.enrol(enrolment, fresh, now);
  }
  Result<std::vector<ClientRecord>> clients() override { return behind_.clients(); }
  Status set_grants(const Uuid& uuid, std::span<const Grant> grants) override {
    return behind_.set_grants(uuid, grants);
  }
  Status revoke_client(const Uuid& uuid, UnixSeconds now) override { return behind_.revoke_client(uuid, now); }
  Status mark_seen(const Uuid& uuid, UnixSeconds now) override { return behind_.mark_seen(uuid, now); }
  Status log_transfer_started(const TransferRecord& row) override { return behind_.log_transfer_started(row); }
  Status log_transfer_ended(const TransferRecord& row) override { return behind_.log_transfer_ended(row); }
  Result<std::optional<Uuid>> find_transfer_client(const std::array<std::byte, 16>& id) override {
    return behind_.find_transfer_client(id);
  }
  Result<std::vector<TransferRecord>> recent_transfers(std::size_t limit) override {
    return behind_.recent_transfers(limit);
  }

 private:
  Registry& behind_;
};

/// Two clients, each with a session that has heard its record; the operator, who comes from another process.
struct Scene {
  TestRegistry store;
  FlakyRegistry registry{*store.registry};
  RegistryWatch watch{registry};
  FakeSession ann{store.add_client(client_key())};
  FakeSession bob{store.add_client(other_key())};
  Sessions sessions{&ann, &bob};
  std::unique_ptr<Registry> operators = open_sqlite_registry(store.state.path()).value();

  Scene() {
    watch.poll(sessions);
    ann.heard.clear();
    bob.heard.clear();
  }
};

}  // namespace

TEST_CASE("registry watch: the first poll after a revocation ends that client's session, and nobody else's") {
  Scene scene;
  scene.watch.poll(scene.sessions);
  CHECK(scene.ann.heard.empty());
  REQUIRE(scene.operators->revoke_client(scene.ann.uuid, noon).ok());
  CHECK(scene.ann.heard.empty());
  scene.watch.poll(scene.sessions);
  REQUIRE(scene.ann.heard.size() == 1);
  CHECK(scene.ann.heard.front().revoked == noon);
  for (const auto& record : scene.bob.heard) CHECK_FALSE(record.revoked);
  scene.watch.poll(scene.sessions);
  CHECK(scene.ann.heard.size() == 1);
}

TEST_CASE("registry watch: new grants reach a session that is being served") {
  Scene scene;
  const std::vector grants{parse_grant("r:/elsewhere").value()};
  REQUIRE(scene.operators->set_grants(scene.bob.uuid, grants).ok());
  scene.watch.poll(scene.sessions);
  REQUIRE(scene.bob.heard.size() == 1);
  CHECK(scene.bob.heard.front().grants == grants);
}

TEST_CASE("registry watch: a revocation that could not be read is not forgotten") {
  Scene scene;
  REQUIRE(scene.operators->revoke_client(scene.ann.uuid, noon).ok());
  scene.registry.readable = false;
  scene.watch.poll(scene.sessions);
  CHECK(scene.ann.heard.empty());
  scene.registry.readable = true;
  scene.watch.poll(scene.sessions);
  REQUIRE(scene.ann.heard.size() == 1);
  CHECK(scene.ann.heard.front().revoked);
}

TEST_CASE("registry watch: who is revoked between its proof and its session is told when the session joins") {
  Scene scene;
  const auto late = scene.ann.uuid;
  REQUIRE(scene.operators->revoke_client(late, noon).ok());
  // The poll that sees the change comes while the session is not there yet; no later one sees anything new.
  const std::array others{&scene.bob};
  scene.watch.poll(others);
  FakeSession joined{late};
  scene.watch.on_joined(joined);
  REQUIRE(joined.heard.size() == 1);
  CHECK(joined.heard.front().revoked);
}

TEST_CASE("registry watch: a session that joins while the registry can not be read is told by the next poll") {
  Scene scene;
  REQUIRE(scene.operators->revoke_client(scene.ann.uuid, noon).ok());
  const std::array others{&scene.bob};
  scene.watch.poll(others);
  scene.registry.readable = false;
  FakeSession joined{scene.ann.uuid};
  scene.watch.on_joined(joined);
  CHECK(joined.heard.empty());
  scene.registry.readable = true;
  const std::array all{&scene.bob, &joined};
  scene.watch.poll(all);
  REQUIRE(joined.heard.size() == 1);
  CHECK(joined.heard.front().revoked);
}
