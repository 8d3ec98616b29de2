#include "control/gate/admission.h"

#include <doctest/doctest.h>

#include "tests/unit/control/gate/loopback.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;
using namespace std::chrono_literals;

namespace {

// A daemon's gate on loopback: everything that admits clients, and what it logged.
struct Gate {
  Loopback loop;
  TestRegistry store;
  std::vector<std::string> log;
  UnixSeconds now = noon;
  TimePoint monotonic{};
  std::uint64_t next_id = 1000;
  Gatekeeper keeper{.registry = store.registry.get(),
                    .signer = &loop.signer,
                    .limiter = {},
                    .counters = {},
                    .wall_clock = [this] { return now; },
                    .monotonic_clock = [this] { return monotonic; },
                    .log = [this](std::string_view line) { log.emplace_back(line); }};
  std::optional<DaemonSession> admitted;

  DaemonOffer offer() {
    return {.identity = &daemon_identity(),
            .receipt_key = &receipt_key(),
            .connection_ids = {{next_id++}, {next_id++}},
            .udp_port = 7440,
            .software = "penstockd test"};
  }
  // Takes one client in, echoes its pings until it leaves.
  static asio::awaitable<void> serve_one(Gate& gate) {
    auto socket = co_await gate.loop.accept();
    std::function<DaemonOffer()> make_offer = [&gate] { return gate.offer(); };
    auto admitted =
        co_await async_admit(std::move(socket), gate.loop.daemon_context, gate.keeper, std::move(make_offer));
    if (!admitted) co_return;
    gate.admitted = std::move(admitted->session);
    for (;;) {
      auto frame = co_await admitted->channel.async_receive();
      if (!frame) break;
      auto sent = co_await admitted->channel.async_send(frame->envelope);
      if (!sent) break;
    }
  }
};

struct Visitor {
  std::optional<Uuid> uuid = {};
  const Token* token = nullptr;
  const crypto::RsaPrivateKey* key = &client_key();
  std::size_t ping_bytes = 0;
};
struct Visit {
  std::optional<ClientSession> session;
  std::optional<Error> error;
  std::size_t echoed = 0;
};

asio::awaitable<void> go_in(Gate& gate, Visitor who, Visit& visit) {
  auto socket = co_await gate.loop.dial();
  auto trust = gate.loop.trust;
  auto channel = co_await TlsChannel::async_connect(std::move(socket), gate.loop.client_context, std::move(trust));
  if (!channel) {
    visit.error = channel.error();
    co_return;
  }
  ClientOffer offer{.key = who.key,
                    .uuid = who.uuid,
                    .token = who.token,
                    .client_name = "laptop\n",
                    .connection_ids = {{1}, {2}, {3}},
                    .software = "penstock test"};
  auto session = co_await async_enter(*channel, std::move(offer));
  if (!session) {
    visit.error = session.error();
    co_return;
  }
  visit.session = *std::move(session);
  if (who.ping_bytes > 0) {
    proto::Envelope envelope;
    envelope.mutable_ping()->set_payload(std::string(who.ping_bytes, 'p'));
    auto sent = co_await channel->async_send(envelope);
    CHECK(sent.ok());
    auto frame = co_await channel->async_receive();
    if (frame) visit.echoed = frame->envelope.ping().payload().size();
  }
  co_await channel->async_close();
}

Visit visit(Gate& gate, Visitor who) {
  Visit result;
  gate.admitted.reset();
  gate.loop.io.restart();
  gate.loop.spawn(Gate::serve_one(gate));
  gate.loop.spawn(go_in(gate, who, result));
  gate.loop.io.run();
  return result;
}

}  // namespace

TEST_CASE("admission: a token registers, the UUID comes back later, and both ends hold the same keys") {
  Gate gate;
  const auto token = gate.store.add_token();
  const auto first = visit(gate, {.token = &token});
  REQUIRE_MESSAGE(first.session, (first.error ? first.error->message : ""));
  REQUIRE(gate.admitted);
  CHECK(gate.admitted->enrolled);
  CHECK(gate.keeper.counters.penstock_gate_enrolled_total == 1);

  const auto second = visit(gate, {.uuid = first.session->agreement.uuid, .ping_bytes = 900'000});
  REQUIRE(second.session);
  REQUIRE(gate.admitted);
  CHECK_FALSE(gate.admitted->enrolled);
  CHECK(second.echoed == 900'000);  // long messages, once proven
  CHECK(second.session->agreement.lanes() == 2);
  CHECK(second.session->agreement.daemon_ids == gate.admitted->agreement.daemon_ids);
  CHECK(second.session->secrets.lanes[1].daemon_to_client.packet_keys().key ==
        gate.admitted->secrets.lanes[1].daemon_to_client.packet_keys().key);
  CHECK(gate.keeper.counters.penstock_gate_admitted_total == 2);
  CHECK(gate.keeper.counters.penstock_gate_refused_total == 0);
  CHECK(gate.log.empty());
}

TEST_CASE("admission: unknown, wrong and revoked clients hear one and the same; the log says which and from where") {
  Gate gate;
  const auto uuid = gate.store.add_client();
  const auto unknown = visit(gate, {.uuid = make_uuid()});
  // A client with a wrong key gives up by itself, when it can not unwrap.
  const auto wrong = visit(gate, {.uuid = uuid, .key = &other_key()});
  REQUIRE(gate.store.registry->revoke_client(uuid, noon).ok());
  const auto revoked = visit(gate, {.uuid = uuid});
  for (const auto* outcome : {&unknown, &wrong, &revoked}) {
    REQUIRE(outcome->error);
    CHECK(outcome->error->code == ErrorCode::AUTH_FAILED);
    CHECK_FALSE(outcome->session);
  }
  CHECK(revoked.error->side == ErrorSide::remote);
  REQUIRE(gate.log.size() == 3);
  for (const auto& line : gate.log) CHECK(line.starts_with("127.0.0.1:"));
  CHECK(gate.log[0].find("unknown client") != std::string::npos);
  CHECK(gate.log[1].find("wrong key") != std::string::npos);
  CHECK(gate.log[1].find(to_string(uuid)) != std::string::npos);
  CHECK(gate.log[2].find("revoked client") != std::string::npos);
  CHECK(gate.log[2].find(to_string(uuid)) != std::string::npos);
  CHECK(gate.keeper.counters.penstock_gate_admitted_total == 0);
  CHECK(gate.keeper.counters.penstock_gate_refused_total == 2);
  CHECK(gate.keeper.counters.penstock_gate_abandoned_total == 1);
}

TEST_CASE("admission: connections that lost a race and were left are not refused ones, nor failed guesses at a token") {
  Gate gate;
  const auto token = gate.store.add_token();
  const auto leave = [](Gate& g, const Token& shown) -> asio::awaitable<void> {
    auto channel = must(co_await g.loop.dial_channel());
    ClientOffer offer{.key = &client_key(),
                      .token = &shown,
                      .client_name = "laptop",
                      .connection_ids = {{1}},
                      .software = "penstock test"};
    const auto met = co_await async_meet(channel, std::move(offer), gate_timeout);
    CHECK(met);
  };
  for (std::uint32_t i = 0; i < failures_burst + 1; ++i) {
    gate.loop.io.restart();
    gate.loop.spawn(Gate::serve_one(gate));
    gate.loop.spawn(leave(gate, token));
    gate.loop.io.run();
    CHECK(!gate.admitted);
  }
  CHECK(gate.keeper.counters.penstock_gate_abandoned_total == failures_burst + 1);
  CHECK(gate.keeper.counters.penstock_gate_refused_total == 0);
  CHECK(visit(gate, {.token = &token}).session);
}

TEST_CASE("admission: a wrong, expired or used token is TOKEN_REFUSED, and the daemon goes on serving the others") {
  Gate gate;
  const auto token = gate.store.add_token();
  auto wrong = decode_token(encode_token(token)).value();
  wrong.secret.writable()[0] ^= std::byte{1};
  CHECK(visit(gate, {.token = &wrong}).error->code == ErrorCode::TOKEN_REFUSED);
  gate.now = {noon.value + 7200};
  CHECK(visit(gate, {.token = &token}).error->code == ErrorCode::TOKEN_REFUSED);
  gate.now = noon;
  CHECK(visit(gate, {.token = &token}).session);
  CHECK(visit(gate, {.token = &token, .key = &other_key()}).error->code == ErrorCode::TOKEN_REFUSED);
  CHECK(gate.keeper.counters.penstock_gate_refused_total == 3);
  // Nobody's secret is in the log.
  for (const auto& line : gate.log) CHECK(line.find(encode_token(token).substr(20, 30)) == std::string::npos);
}

TEST_CASE("admission: too many refused registrations block the address for registrations only, and for a while") {
  Gate gate;
  const auto uuid = gate.store.add_client(other_key());
  const auto bad = make_token(daemon_identity().pin(), "");
  for (std::uint32_t i = 0; i < failures_burst; ++i) {
    const auto outcome = visit(gate, {.token = &bad});
    CHECK(outcome.error->message.find("too many") == std::string::npos);
  }
  const auto good = gate.store.add_token();
  const auto blocked = visit(gate, {.token = &good});
  REQUIRE(blocked.error);
  CHECK(blocked.error->code == ErrorCode::TOKEN_REFUSED);
  CHECK(blocked.error->message.find("too many") != std::string::npos);
  CHECK(visit(gate, {.uuid = uuid, .key = &other_key()}).session);  // a registered client is not kept out
  gate.monotonic += failure_forgiven_after;
  CHECK(visit(gate, {.token = &good}).session);
}

TEST_CASE("admission: strangers are counted, logged with their address, and cost nobody else anything") {
  Gate gate;
  const auto uuid = gate.store.add_client();
  gate.loop.spawn(Gate::serve_one(gate));
  gate.loop.spawn([](Gate& g) -> asio::awaitable<void> {
    auto socket = co_await g.loop.dial();
    const std::string words = "GET / HTTP/1.1\r\n\r\n";
    std::error_code ignored;
    co_await asio::async_write(socket, asio::buffer(words), asio::redirect_error(asio::use_awaitable, ignored));
  }(gate));
  gate.loop.io.run();
  CHECK(gate.keeper.counters.penstock_gate_strangers_total == 1);
  REQUIRE(gate.log.size() == 1);
  CHECK(gate.log[0].find("HTTP") != std::string::npos);
  CHECK(visit(gate, {.uuid = uuid}).session);
}

TEST_CASE("admission: a registry that fails lets nobody in, says so in the log, and enrols nobody halfway") {
  class Failing final : public Registry {
   public:
    static Error fire() { return {ErrorCode::IO_ERROR, "disk on fire"}; }
    Status add_token(const TokenRecord&) override { return fire(); }
    Result<std::vector<TokenRecord>> tokens() override { return fire(); }
    Status revoke_token(const TokenId&, UnixSeconds) override { return fire(); }
    Result<TokenVerdict<TokenStanding>> check_enrolment(const Enrolment&, UnixSeconds) override {
      return TokenVerdict<TokenStanding>{TokenStanding{}};
    }
    Result<TokenVerdict<ClientRecord>> enrol(const Enrolment&, const Uuid&, UnixSeconds) override { return fire(); }
    Result<std::optional<ClientRecord>> find_client(const Uuid&) override { return fire(); }
    Result<std::vector<ClientRecord>> clients() override { return fire(); }
    Status set_grants(const Uuid&, std::span<const Grant>) override { return fire(); }
    Status revoke_client(const Uuid&, UnixSeconds) override { return fire(); }
    Status mark_seen(const Uuid&, UnixSeconds) override { return fire(); }
    Result<std::uint64_t> change_counter() override { return fire(); }
    Status log_transfer_started(const TransferRecord&) override { return fire(); }
    Status log_transfer_ended(const TransferRecord&) override { return fire(); }
    Result<std::optional<Uuid>> find_transfer_client(const std::array<std::byte, 16>&) override { return fire(); }
    Result<std::vector<TransferRecord>> recent_transfers(std::size_t) override { return fire(); }
  } failing;
  Gate gate;
  gate.keeper.registry = &failing;
  const auto token = make_token(daemon_identity().pin(), "");
  CHECK(visit(gate, {.token = &token}).error->code == ErrorCode::INTERNAL);
  CHECK(visit(gate, {.uuid = make_uuid()}).error->code == ErrorCode::INTERNAL);
  CHECK(gate.keeper.counters.penstock_gate_admitted_total == 0);
  REQUIRE(gate.log.size() == 2);
  CHECK(gate.log[0].find("disk on fire") != std::string::npos);
}
