#include "control/gate/key_exchange.h"

#include <doctest/doctest.h>

#include <functional>

#include "control/gate/client_exchange.h"
#include "control/gate/daemon_exchange.h"
#include "control/gate/failure.h"
#include "tests/unit/control/gate/fixtures.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

Frame parse(const std::string& bytes) {
  Frame frame;
  frame.bytes = bytes;
  REQUIRE(frame.envelope.ParseFromString(bytes.substr(frame_prefix_size)));
  return frame;
}

// The exporters of one TLS connection, as both its ends know them.
struct Connection {
  std::array<std::byte, 32> bind = crypto::random_array<32>();
  std::array<std::byte, 32> key = crypto::random_array<32>();
  [[nodiscard]] ChannelBinding binding(const Pin& daemon = daemon_identity().pin()) const {
    return {.bind = bind, .key = crypto::SecretArray<32>{key}, .daemon = daemon};
  }
};

std::vector<ConnectionId> ids(std::size_t count, std::uint64_t first) {
  std::vector<ConnectionId> all;
  for (std::uint64_t i = 0; i < count; ++i) all.push_back({first + i});
  return all;
}

ClientOffer client_offer(std::optional<Uuid> uuid, const Token* token = nullptr,
                         const crypto::RsaPrivateKey& key = client_key()) {
  return {.key = &key,
          .uuid = uuid,
          .token = token,
          .client_name = "laptop",
          .suites = {crypto::AeadAlgorithm::aes_256_gcm, crypto::AeadAlgorithm::chacha20_poly1305},
          .connection_ids = ids(4, 100),
          .capabilities = {"zstd", "fec"},
          .software = "test client"};
}

DaemonOffer daemon_offer() {
  return {.identity = &daemon_identity(),
          .receipt_key = &receipt_key(),
          .suites = {crypto::AeadAlgorithm::aes_256_gcm, crypto::AeadAlgorithm::chacha20_poly1305},
          .connection_ids = ids(2, 900),
          .udp_port = 7440,
          .udp_host = "",
          .capabilities = {"fec"},
          .next_pins = {Pin{crypto::random_array<32>()}},
          .software = "test daemon"};
}

ClientExchange client_of(ClientOffer offer, const Connection& connection) {
  const auto spki = daemon_identity().spki();
  return {std::move(offer), connection.binding(), {spki.begin(), spki.end()}};
}
DaemonExchange daemon_on(const Connection& connection, DaemonOffer offer = daemon_offer()) {
  return {std::move(offer), connection.binding(), crypto::SecretArray<32>{crypto::random_array<32>()}, make_uuid()};
}

using Tamper = std::function<void(std::string&)>;
const Tamper untouched = [](std::string&) {};

struct Outcome {
  std::optional<ClientSession> client;
  std::optional<DaemonSession> daemon;
  std::optional<Error> client_error;
  std::optional<Refusal> refusal;
};

struct Tampering {
  Tamper hello = untouched;
  Tamper wrap = untouched;
  Tamper proof = untouched;
  Tamper answer = untouched;
};

// A whole exchange, with somebody in between who may change what passes.
Outcome run(ClientOffer offer, Registry& registry, const Tampering& tampering = {}, DaemonOffer ours = daemon_offer(),
            UnixSeconds now = noon, std::optional<ClientSession>* ahead = nullptr) {
  const Connection connection;
  auto client = client_of(std::move(offer), connection);
  auto daemon = daemon_on(connection, std::move(ours));
  Outcome outcome;
  const auto stop = [&outcome](auto& member, const auto& error) {
    member = error;
    return std::move(outcome);
  };

  auto bytes = client.hello();
  tampering.hello(bytes);
  Frame frame;
  if (!frame.envelope.ParseFromString(bytes.substr(frame_prefix_size))) return outcome;
  frame.bytes = bytes;
  if (auto known = daemon.handle_hello(frame, registry, now); !known) return stop(outcome.refusal, known.error());
  auto wrap = daemon.make_wrap();
  if (!wrap) return stop(outcome.refusal, wrap.error());
  tampering.wrap(*wrap);
  auto proof = client.handle_wrap(parse(*wrap));
  if (!proof) return stop(outcome.client_error, proof.error());
  tampering.proof(*proof);
  if (ahead != nullptr) *ahead = client.take_unproven();
  auto accepted = daemon.handle_proof(parse(*proof), registry, now);
  if (!accepted) return stop(outcome.refusal, accepted.error());
  outcome.daemon = std::move(accepted->session);
  tampering.answer(accepted->proof);
  auto session = client.handle_proof(parse(accepted->proof).envelope);
  if (!session) return stop(outcome.client_error, session.error());
  outcome.client = *std::move(session);
  return outcome;
}

// Changes one field of the message and keeps the framing right.
template <class Change>
Tamper edit(Change change) {
  return [change](std::string& bytes) {
    proto::Envelope envelope;
    REQUIRE(envelope.ParseFromString(bytes.substr(frame_prefix_size)));
    change(envelope);
    bytes = encode_frame(envelope);
  };
}
void flip(std::string& text, std::size_t at = 0) { text[at] = static_cast<char>(text[at] ^ 1); }

}  // namespace

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

TEST_CASE("key exchange: unknown UUID, wrong key and revoked look alike on the wire, and differ in the log") {
  TestRegistry store;
  const auto uuid = store.add_client();
  const auto revoked = store.add_client(other_key());
  REQUIRE(store.registry->revoke_client(revoked, noon).ok());

  struct Seen {
    std::size_t wrap_size;
    std::size_t key_size;
    Refusal refusal;
  };
  const auto attempt = [&](const Uuid& who) {
    const Connection connection;
    auto client = client_of(client_offer(who), connection);
    auto daemon = daemon_on(connection);
    REQUIRE(daemon.handle_hello(parse(client.hello()), *store.registry, noon).ok());
    const auto wrap = daemon.make_wrap().value();
    // The client can not unwrap it, or would not say so: it sends the best proof it has.
    proto::Envelope guess;
    guess.mutable_client_proof()->set_mac(std::string(32, 'x'));
    auto refused = daemon.handle_proof(parse(encode_frame(guess)), *store.registry, noon);
    REQUIRE(!refused.ok());
    return Seen{wrap.size(), parse(wrap).envelope.daemon_wrap().wrapped_key().size(), refused.error()};
  };
  const auto wrong = attempt(uuid);
  const auto gone = attempt(revoked);
  const auto unknown = attempt(make_uuid());
  CHECK(wrong.refusal.reason == AuthRefusal::wrong_key);
  CHECK(gone.refusal.reason == AuthRefusal::revoked);
  CHECK(unknown.refusal.reason == AuthRefusal::unknown_uuid);
  for (const auto* other : {&gone, &unknown}) {
    CHECK(other->wrap_size == wrong.wrap_size);
    CHECK(other->key_size == wrong.key_size);
    CHECK(other->refusal.wire == wrong.refusal.wire);
  }
  CHECK(wrong.refusal.wire.code == ErrorCode::AUTH_FAILED);
}

TEST_CASE("key exchange: a revoked client with the right key and proof is refused, and so is one revoked in between") {
  TestRegistry store;
  const auto uuid = store.add_client();
  const auto between = run(client_offer(uuid), *store.registry,
                           {.proof = [&](std::string&) { REQUIRE(store.registry->revoke_client(uuid, noon).ok()); }});
  REQUIRE(between.refusal);
  CHECK(between.refusal->reason == AuthRefusal::revoked);
  const auto later = run(client_offer(uuid), *store.registry);
  REQUIRE(later.refusal);
  CHECK(later.refusal->reason == AuthRefusal::revoked);
  CHECK_FALSE(later.daemon);
}

TEST_CASE("key exchange: another private key can not unwrap, and is AUTH_FAILED at the client already") {
  TestRegistry store;
  const auto uuid = store.add_client();
  const auto outcome = run(client_offer(uuid, nullptr, other_key()), *store.registry);
  REQUIRE(outcome.client_error);
  CHECK(outcome.client_error->code == ErrorCode::AUTH_FAILED);
}

TEST_CASE("key exchange: a wrap relayed from another connection, UUID or daemon does not unwrap") {
  TestRegistry store;
  const auto uuid = store.add_client();
  const Connection first;
  const Connection second;
  auto daemon = daemon_on(first);
  auto client = client_of(client_offer(uuid), second);  // the relay's connection to the victim
  const auto hello = client.hello();
  REQUIRE(daemon.handle_hello(parse(hello), *store.registry, noon).ok());
  const auto wrap = daemon.make_wrap().value();
  const auto relayed = client.handle_wrap(parse(wrap));
  REQUIRE(!relayed.ok());
  CHECK(relayed.error().code == ErrorCode::AUTH_FAILED);

  const auto label = wrap_label(uuid, first.binding());
  CHECK(label != wrap_label(make_uuid(), first.binding()));
  CHECK(label != wrap_label(uuid, second.binding()));
  CHECK(label != wrap_label(uuid, first.binding(other_identity().pin())));
  CHECK(label == wrap_label(uuid, first.binding()));
}

TEST_CASE("key exchange: with equal labels but another salt the proofs still fail") {
  TestRegistry store;
  const auto uuid = store.add_client();
  Connection ours;
  auto daemon = daemon_on(ours);
  auto theirs = ours;
  theirs.key[0] ^= std::byte{1};
  auto client = client_of(client_offer(uuid), theirs);
  REQUIRE(daemon.handle_hello(parse(client.hello()), *store.registry, noon).ok());
  const auto proof = client.handle_wrap(parse(daemon.make_wrap().value()));
  REQUIRE(proof.ok());
  const auto refused = daemon.handle_proof(parse(*proof), *store.registry, noon);
  REQUIRE(!refused.ok());
  CHECK(refused.error().reason == AuthRefusal::wrong_key);
}

TEST_CASE("key exchange: a proof or wrap of an earlier session is worth nothing in the next") {
  TestRegistry store;
  const auto uuid = store.add_client();
  std::string old_wrap;
  std::string old_proof;
  std::string old_answer;
  REQUIRE(run(client_offer(uuid), *store.registry,
              {.wrap = [&](std::string& bytes) { old_wrap = bytes; },
               .proof = [&](std::string& bytes) { old_proof = bytes; },
               .answer = [&](std::string& bytes) { old_answer = bytes; }})
              .client);
  CHECK(run(client_offer(uuid), *store.registry, {.wrap = [&](std::string& b) { b = old_wrap; }}).client_error->code ==
        ErrorCode::AUTH_FAILED);
  CHECK(run(client_offer(uuid), *store.registry, {.proof = [&](std::string& b) { b = old_proof; }}).refusal->reason ==
        AuthRefusal::wrong_key);
  CHECK(run(client_offer(uuid), *store.registry, {.answer = [&](std::string& b) { b = old_answer; }})
            .client_error->code == ErrorCode::AUTH_FAILED);
}

TEST_CASE("key exchange: a message sent back to its sender is refused") {
  TestRegistry store;
  const auto uuid = store.add_client();
  std::string hello;
  std::string proof;
  CHECK(run(client_offer(uuid), *store.registry,
            {.hello = [&](std::string& b) { hello = b; }, .wrap = [&](std::string& b) { b = hello; }})
            .client_error->code == ErrorCode::NOT_PENSTOCK);
  // The client's MAC as the daemon's: the two directions have keys of their own.
  CHECK(run(client_offer(uuid), *store.registry,
            {.proof = [&](std::string& b) { proof = b; }, .answer = edit([&](proto::Envelope& e) {
                                                            e.mutable_daemon_proof()->set_mac(
                                                                parse(proof).envelope.client_proof().mac());
                                                          })})
            .client_error->code == ErrorCode::AUTH_FAILED);
}

TEST_CASE("key exchange: whatever single field is changed on the way, no session comes of it at the deceived end") {
  TestRegistry store;
  const auto uuid = store.add_client();
  using E = proto::Envelope;
  const std::vector<Tamper> hellos{
      edit([](E& e) { e.mutable_client_hello()->add_capabilities("x"); }),
      edit([](E& e) { e.mutable_client_hello()->set_software("x"); }),
      edit([](E& e) { e.mutable_client_hello()->set_connection_ids(0, 4711); }),
      edit([](E& e) { e.mutable_client_hello()->set_lanes_max(1); }),
      edit([](E& e) { e.mutable_client_hello()->mutable_suites()->SwapElements(0, 1); }),
      edit([](E& e) { e.mutable_client_hello()->add_versions(7); }),
      edit([](E& e) { e.mutable_client_hello()->set_pipelined_request("x"); }),
      edit([](E& e) { e.set_id(9); }),
  };
  for (const auto& tamper : hellos) {
    const auto outcome = run(client_offer(uuid), *store.registry, {.hello = tamper});
    CHECK_FALSE(outcome.client);
    CHECK_FALSE(outcome.daemon);
    CHECK((outcome.refusal ? outcome.refusal->reason == AuthRefusal::wrong_key : outcome.client_error.has_value()));
  }
  const std::vector<Tamper> wraps{
      edit([](E& e) { e.mutable_daemon_wrap()->add_capabilities("zstd"); }),
      edit([](E& e) { e.mutable_daemon_wrap()->set_suite(proto::CHACHA20_POLY1305); }),
      edit([](E& e) { e.mutable_daemon_wrap()->set_connection_ids(0, 4711); }),
      edit([](E& e) { e.mutable_daemon_wrap()->mutable_connection_ids()->Truncate(1); }),
      edit([](E& e) { e.mutable_daemon_wrap()->set_udp_port(9); }),
      edit([](E& e) { e.mutable_daemon_wrap()->set_udp_host("192.0.2.1"); }),
      edit([](E& e) { e.mutable_daemon_wrap()->set_software("x"); }),
      edit([](E& e) { e.mutable_daemon_wrap()->set_uuid(std::string(16, 'u')); }),
      edit([](E& e) { flip(*e.mutable_daemon_wrap()->mutable_wrapped_key(), 17); }),
      edit([](E& e) { e.mutable_daemon_wrap()->mutable_wrapped_key()->pop_back(); }),
  };
  for (const auto& tamper : wraps) {
    const auto outcome = run(client_offer(uuid), *store.registry, {.wrap = tamper});
    CHECK_FALSE(outcome.client);
    CHECK_FALSE(outcome.daemon);
  }
  for (const std::size_t size : {0U, 1U, 31U, 33U}) {
    const auto outcome = run(client_offer(uuid), *store.registry,
                             {.proof = edit([&](E& e) { e.mutable_client_proof()->mutable_mac()->resize(size); })});
    CHECK(outcome.refusal->reason == AuthRefusal::wrong_key);
    const auto answered = run(client_offer(uuid), *store.registry,
                              {.answer = edit([&](E& e) { e.mutable_daemon_proof()->mutable_mac()->resize(size); })});
    CHECK(answered.client_error->code == ErrorCode::AUTH_FAILED);
  }
}

TEST_CASE("key exchange: every bit of both MACs counts") {
  TestRegistry store;
  const auto uuid = store.add_client();
  for (std::size_t byte = 0; byte < 32; byte += 5) {
    CHECK(run(client_offer(uuid), *store.registry,
              {.proof = edit([&](proto::Envelope& e) { flip(*e.mutable_client_proof()->mutable_mac(), byte); })})
              .refusal->reason == AuthRefusal::wrong_key);
    CHECK(run(client_offer(uuid), *store.registry,
              {.answer = edit([&](proto::Envelope& e) { flip(*e.mutable_daemon_proof()->mutable_mac(), byte); })})
              .client_error->code == ErrorCode::AUTH_FAILED);
  }
}

TEST_CASE("key exchange: a receipt key that the identity key does not certify is SIGNATURE_INVALID") {
  TestRegistry store;
  const auto uuid = store.add_client();
  for (const auto& tamper :
       {edit([](proto::Envelope& e) { flip(*e.mutable_daemon_proof()->mutable_receipt_key()); }),
        edit([](proto::Envelope& e) { flip(*e.mutable_daemon_proof()->mutable_receipt_key_signature()); }),
        edit([](proto::Envelope& e) { e.mutable_daemon_proof()->clear_receipt_key(); })})
    CHECK(run(client_offer(uuid), *store.registry, {.answer = tamper}).client_error->code ==
          ErrorCode::SIGNATURE_INVALID);
}

TEST_CASE("key exchange: absurd hellos are refused before anything is looked up") {
  TestRegistry store;
  const auto uuid = store.add_client();
  using E = proto::Envelope;
  const auto refused = [&](const Tamper& tamper) {
    const auto outcome = run(client_offer(uuid), *store.registry, {.hello = tamper});
    REQUIRE(outcome.refusal);
    return outcome.refusal->reason;
  };
  CHECK(refused(edit([](E& e) { e.mutable_client_hello()->clear_uuid(); })) == AuthRefusal::malformed);
  CHECK(refused(edit([](E& e) { e.mutable_client_hello()->set_uuid("short"); })) == AuthRefusal::malformed);
  CHECK(refused(edit([](E& e) { e.mutable_client_hello()->clear_connection_ids(); })) == AuthRefusal::malformed);
  CHECK(refused(edit([](E& e) { e.mutable_client_hello()->set_connection_ids(1, 100); })) == AuthRefusal::malformed);
  CHECK(refused(edit([](E& e) {
          for (std::uint64_t i = 0; i < 100; ++i) e.mutable_client_hello()->add_connection_ids(5000 + i);
        })) == AuthRefusal::malformed);
  CHECK(refused(edit([](E& e) { e.mutable_client_hello()->set_lanes_max(0); })) == AuthRefusal::malformed);
  CHECK(refused(edit([](E& e) { e.mutable_client_hello()->clear_versions(); })) == AuthRefusal::no_version);
  CHECK(refused(edit([](E& e) { e.mutable_client_hello()->set_versions(0, 2); })) == AuthRefusal::no_version);
  CHECK(refused(edit([](E& e) { e.mutable_client_hello()->clear_suites(); })) == AuthRefusal::no_suite);
  CHECK(refused(edit([](E& e) { e.mutable_client_hello()->mutable_enrol(); })) == AuthRefusal::malformed);
  CHECK(refused(edit([](E& e) { e.mutable_ping(); })) == AuthRefusal::malformed);
}

TEST_CASE("key exchange: absurd wraps are refused by the client") {
  TestRegistry store;
  const auto uuid = store.add_client();
  using E = proto::Envelope;
  const auto code = [&](const Tamper& tamper) {
    const auto outcome = run(client_offer(uuid), *store.registry, {.wrap = tamper});
    REQUIRE(outcome.client_error);
    return outcome.client_error->code;
  };
  CHECK(code(edit([](E& e) { e.mutable_daemon_wrap()->set_version(2); })) == ErrorCode::VERSION_MISMATCH);
  CHECK(code(edit([](E& e) { e.mutable_daemon_wrap()->clear_suite(); })) == ErrorCode::NOT_PENSTOCK);
  CHECK(code(edit([](E& e) { e.mutable_daemon_wrap()->clear_connection_ids(); })) == ErrorCode::NOT_PENSTOCK);
  CHECK(code(edit([](E& e) {
          for (std::uint64_t i = 0; i < 9; ++i) e.mutable_daemon_wrap()->add_connection_ids(i);
        })) == ErrorCode::NOT_PENSTOCK);
  CHECK(code(edit([](E& e) { e.mutable_daemon_wrap()->set_udp_port(65536); })) == ErrorCode::NOT_PENSTOCK);
  CHECK(code(edit([](E& e) { e.mutable_daemon_wrap()->clear_udp_port(); })) == ErrorCode::NOT_PENSTOCK);
  CHECK(code(edit([](E& e) { e.mutable_daemon_wrap()->clear_wrapped_key(); })) == ErrorCode::AUTH_FAILED);
  CHECK(code(edit([](E& e) { e.mutable_failure()->set_code(1305); })) == ErrorCode::SERVER_BUSY);
  CHECK(code(edit([](E& e) { e.mutable_failure()->set_code(77); })) == ErrorCode::INTERNAL);
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

TEST_CASE("failure: what a daemon says is shown safely, and marked as remote") {
  proto::Failure failure;
  failure.set_code(1405);
  failure.set_message("no\x1b[2J\n" + std::string(5000, 'm'));
  const auto error = error_of_failure(failure);
  CHECK(error.code == ErrorCode::AUTH_FAILED);
  CHECK(error.side == ErrorSide::remote);
  CHECK(error.message.find('\x1b') == std::string::npos);
  CHECK(error.message.find('\n') == std::string::npos);
  CHECK(error.message.size() < 1100);
  // Names that are not UTF-8 travel, and huge paths can not make a message that the framing refuses.
  const auto envelope = failure_envelope({ErrorCode::NOT_FOUND, "no \xff", std::string(3'000'000, '\xfe')});
  const auto read = error_of_failure(parse(encode_frame(envelope)).envelope.failure());
  CHECK(read.code == ErrorCode::NOT_FOUND);
  CHECK(read.path.size() == failure_path_max);
}
