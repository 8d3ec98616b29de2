#include "control/gate/key_exchange.h"

#include <doctest/doctest.h>

#include "tests/unit/control/gate/exchange_run.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

TEST_CASE("key exchange: both ends of a registered client's session agree on everything") {
  TestRegistry store;
  const auto uuid = store.add_client();
  auto outcome = run(client_offer(uuid), *store.registry);
  REQUIRE(outcome.client);
  REQUIRE(outcome.daemon);
  const auto& client = *outcome.client;
  const auto& daemon = *outcome.daemon;
  CHECK(client.agreement.uuid == uuid);
  CHECK(daemon.client.uuid == uuid);
  CHECK_FALSE(daemon.enrolled);
  CHECK(client.agreement.client_ids == ids(2, 100));
  CHECK(client.agreement.daemon_ids == ids(2, 900));
  CHECK(client.agreement.client_ids == daemon.agreement.client_ids);
  CHECK(client.agreement.daemon_ids == daemon.agreement.daemon_ids);
  CHECK(client.agreement.udp_port == 7440);
  CHECK(client.agreement.capabilities == std::vector<std::string>{"fec"});
  CHECK(daemon.agreement.capabilities == std::vector<std::string>{"fec"});
  CHECK(client.secrets.suite == crypto::AeadAlgorithm::aes_256_gcm);
  CHECK(client.user == "ann");
  CHECK(client.grants == std::vector<std::string>{"rw:/p"});
  CHECK(client.next_pins.size() == 1);
  CHECK(client.receipt_key == receipt_key().public_key());
  REQUIRE(client.secrets.lanes.size() == 2);
  REQUIRE(daemon.secrets.lanes.size() == 2);
  for (std::size_t lane = 0; lane < 2; ++lane) {
    const auto& ours = client.secrets.lanes[lane];
    const auto& theirs = daemon.secrets.lanes[lane];
    CHECK(ours.client_to_daemon.packet_keys().key == theirs.client_to_daemon.packet_keys().key);
    CHECK(ours.daemon_to_client.packet_keys().key == theirs.daemon_to_client.packet_keys().key);
    CHECK_FALSE(ours.client_to_daemon.packet_keys().key == ours.daemon_to_client.packet_keys().key);
  }
}

TEST_CASE("key exchange: ahead of the daemon's proof there are agreement and keys; a wrong proof still ends it") {
  TestRegistry store;
  const auto uuid = store.add_client();
  std::optional<ClientSession> ahead;
  auto outcome = run(client_offer(uuid), *store.registry, {}, daemon_offer(), noon, &ahead);
  REQUIRE(outcome.client);
  REQUIRE(outcome.daemon);
  REQUIRE(ahead);
  CHECK(ahead->agreement.client_ids == outcome.daemon->agreement.client_ids);
  CHECK(ahead->agreement.daemon_ids == outcome.daemon->agreement.daemon_ids);
  CHECK(ahead->secrets.suite == outcome.daemon->secrets.suite);
  CHECK(ahead->user.empty());  // that the daemon's proof says
  REQUIRE(ahead->secrets.lanes.size() == 2);
  for (std::size_t lane = 0; lane < 2; ++lane)
    CHECK(ahead->secrets.lanes[lane].client_to_daemon.packet_keys().key ==
          outcome.daemon->secrets.lanes[lane].client_to_daemon.packet_keys().key);
  CHECK(outcome.client->secrets.lanes.empty());
  CHECK(outcome.client->user == "ann");

  const Tampering wrong{.answer = edit([](proto::Envelope& e) { flip(*e.mutable_daemon_proof()->mutable_mac()); })};
  outcome = run(client_offer(uuid), *store.registry, wrong, daemon_offer(), noon, &ahead);
  CHECK_FALSE(outcome.client);
  REQUIRE(outcome.client_error);
  CHECK(outcome.client_error->code == ErrorCode::AUTH_FAILED);
}

TEST_CASE("key exchange: a daemon makes ids for the lanes that the client wants, and for no more than it will serve") {
  TestRegistry store;
  const auto uuid = store.add_client();
  for (const std::size_t wanted : {1U, 2U, 3U, 4U}) {
    CAPTURE(wanted);
    auto offer = client_offer(uuid);
    offer.connection_ids = ids(wanted, 100);
    auto ours = daemon_offer();
    ours.connection_ids = ids(1, 900);
    std::uint64_t made = 0;
    ours.one_more_id = [&made]() -> std::optional<ConnectionId> {
      if (made == 2) return std::nullopt;
      return ConnectionId{901 + made++};
    };
    auto outcome = run(std::move(offer), *store.registry, {}, std::move(ours));
    REQUIRE(outcome.client);
    const std::size_t lanes = std::min<std::size_t>(wanted, 3);
    CHECK(made == lanes - 1);
    CHECK(outcome.client->agreement.daemon_ids == ids(lanes, 900));
    CHECK(outcome.client->agreement.client_ids == ids(lanes, 100));
    CHECK(outcome.client->secrets.lanes.size() == lanes);
  }
}

TEST_CASE("key exchange: no two sessions of one client share a key") {
  TestRegistry store;
  const auto uuid = store.add_client();
  auto a = run(client_offer(uuid), *store.registry);
  auto b = run(client_offer(uuid), *store.registry);
  CHECK_FALSE(a.client->secrets.lanes[0].client_to_daemon.packet_keys().key ==
              b.client->secrets.lanes[0].client_to_daemon.packet_keys().key);
}

TEST_CASE("key exchange: ChaCha20 is chosen when either end puts it first, AES-256-GCM when both put that first") {
  using S = crypto::AeadAlgorithm;
  const std::vector<S> aes{S::aes_256_gcm, S::chacha20_poly1305};
  const std::vector<S> chacha{S::chacha20_poly1305, S::aes_256_gcm};
  const std::vector<S> only_aes{S::aes_256_gcm};
  const std::vector<S> only_chacha{S::chacha20_poly1305};
  CHECK(choose_suite(aes, aes) == S::aes_256_gcm);
  CHECK(choose_suite(aes, chacha) == S::chacha20_poly1305);
  CHECK(choose_suite(chacha, aes) == S::chacha20_poly1305);
  CHECK(choose_suite(chacha, only_aes) == S::aes_256_gcm);
  CHECK_FALSE(choose_suite(only_chacha, only_aes));
  CHECK_FALSE(choose_suite({}, aes));
}
