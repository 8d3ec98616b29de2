#include <doctest/doctest.h>

#include "control/gate/failure.h"
#include "control/gate/key_exchange.h"
#include "tests/unit/control/gate/exchange_run.h"

// Who is not let in, and what comes of messages that were changed, repeated, relayed or absurd.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

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
      edit([](E& e) { e.mutable_client_hello()->add_capabilities("more"); }),
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
