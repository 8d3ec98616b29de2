#include <doctest/doctest.h>

#include "tests/unit/control/gate/exchange_run.h"

// How a token and a key become a registered client, and why they do not.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

TEST_CASE("enrolment: token and key become a client in the first key exchange; a lost reply is repeated alike") {
  TestRegistry store;
  const auto token = store.add_token();
  // The client proves possession, but the daemon's last message never arrives.
  auto first = run(client_offer(std::nullopt, &token), *store.registry,
                   {.answer = edit([](proto::Envelope& e) { flip(*e.mutable_daemon_proof()->mutable_mac()); })});
  REQUIRE(first.daemon);
  CHECK(first.daemon->enrolled);
  CHECK(first.client_error->code == ErrorCode::AUTH_FAILED);

  auto second = run(client_offer(std::nullopt, &token), *store.registry);
  REQUIRE(second.client);
  CHECK(second.client->agreement.uuid == first.daemon->client.uuid);
  CHECK(second.daemon->client.name == "laptop");
  CHECK(store.registry->clients().value().size() == 1);

  // And then it comes as the registered client that it is.
  CHECK(run(client_offer(second.client->agreement.uuid), *store.registry).client);
}

TEST_CASE("enrolment: every refused token is TOKEN_REFUSED with one text on the wire; the log tells them apart") {
  TestRegistry store;
  const auto token = store.add_token();
  const auto expect = [&](const Token& shown, UnixSeconds now, AuthRefusal reason, const crypto::RsaPrivateKey& key) {
    const auto outcome = run(client_offer(std::nullopt, &shown, key), *store.registry, {}, daemon_offer(), now);
    REQUIRE(outcome.refusal);
    CHECK(to_string(outcome.refusal->reason) == to_string(reason));
    CHECK(outcome.refusal->wire == make_refusal(AuthRefusal::token_unknown, "").wire);
    CHECK(outcome.refusal->wire.code == ErrorCode::TOKEN_REFUSED);
  };
  expect(make_token(daemon_identity().pin(), ""), noon, AuthRefusal::token_unknown, client_key());
  auto wrong = decode_token(encode_token(token)).value();
  wrong.secret.writable()[31] ^= std::byte{1};
  expect(wrong, noon, AuthRefusal::token_wrong_secret, client_key());
  expect(token, {noon.value + 3600}, AuthRefusal::token_expired, client_key());
  REQUIRE(run(client_offer(std::nullopt, &token), *store.registry).client);
  expect(token, noon, AuthRefusal::token_used, other_key());
  REQUIRE(store.registry->revoke_token(token.id, noon).ok());
  expect(token, noon, AuthRefusal::token_revoked, client_key());
}

TEST_CASE("enrolment: nothing is registered before possession of the key is proven") {
  TestRegistry store;
  const auto token = store.add_token();
  const auto outcome =
      run(client_offer(std::nullopt, &token), *store.registry,
          {.proof = edit([](proto::Envelope& e) { flip(*e.mutable_client_proof()->mutable_mac(), 31); })});
  REQUIRE(outcome.refusal);
  CHECK(outcome.refusal->reason == AuthRefusal::wrong_key);
  CHECK(store.registry->clients().value().empty());
  CHECK_FALSE(store.registry->tokens().value().at(0).used_by);
}

TEST_CASE("enrolment: a key that another token registered is told so only once its possession is proven") {
  TestRegistry store;
  store.add_client();
  const auto token = store.add_token();
  const auto proven = run(client_offer(std::nullopt, &token), *store.registry);
  REQUIRE(proven.refusal);
  CHECK(proven.refusal->reason == AuthRefusal::key_in_use);

  // Somebody who only knows the public key learns nothing: the exchange looks like any other until the proof.
  const auto stranger =
      run(client_offer(std::nullopt, &token), *store.registry,
          {.proof = edit([](proto::Envelope& e) { flip(*e.mutable_client_proof()->mutable_mac()); })});
  REQUIRE(stranger.refusal);
  CHECK(stranger.refusal->reason == AuthRefusal::wrong_key);
}

TEST_CASE("enrolment: keys that are not RSA of 3072-4096 bits with e = 65537 are refused") {
  TestRegistry store;
  const auto token = store.add_token();
  for (const std::string& key : {std::string{}, std::string{"not a key"}, std::string(crypto::spki_size_max, '\0')}) {
    const auto outcome = run(
        client_offer(std::nullopt, &token), *store.registry,
        {.hello = edit([&](proto::Envelope& e) { e.mutable_client_hello()->mutable_enrol()->set_public_key(key); })});
    REQUIRE(outcome.refusal);
    CHECK(outcome.refusal->reason == AuthRefusal::key_refused);
  }
  CHECK(store.registry->clients().value().empty());
}
