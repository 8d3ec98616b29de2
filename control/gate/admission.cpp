#include "control/gate/admission.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "common/crypto/random.h"
#include "common/escape.h"

namespace penstock::control {
namespace {

std::string address_of(const asio::ip::tcp::endpoint& peer) {
  const auto address = peer.address();
  if (address.is_v4()) return fmt::format("{}:{}", address.to_string(), peer.port());
  const auto v6 = address.to_v6();
  if (v6.is_v4_mapped())  // a dual-stack socket's IPv4 peer
    return fmt::format("{}:{}", asio::ip::make_address_v4(asio::ip::v4_mapped, v6).to_string(), peer.port());
  return fmt::format("[{}]:{}", address.to_string(), peer.port());
}

/// One client at the gate: what is counted and logged about it.
struct Visit {
  Gatekeeper& gatekeeper;
  asio::ip::tcp::endpoint peer;

  void log(const std::string& text) const {
    if (gatekeeper.log) gatekeeper.log(address_of(peer) + ' ' + escape_for_display(text));
  }

  void on_channel_failed(const Error& error) const {
    auto& counters = gatekeeper.counters;
    switch (error.code) {
      case ErrorCode::SERVER_BUSY:
        ++counters.penstock_gate_busy_total;
        break;
      case ErrorCode::TIMED_OUT:
        ++counters.penstock_gate_timeouts_total;
        break;
      default:
        ++counters.penstock_gate_strangers_total;
        break;
    }
    log("not let in: " + error.message);
  }

  void on_refused(const Refusal& refusal, bool enrolling) const {
    ++gatekeeper.counters.penstock_gate_refused_total;
    if (enrolling && refusal.reason != AuthRefusal::store_failed && refusal.reason != AuthRefusal::rate_limited)
      gatekeeper.limiter.on_failure(gatekeeper.monotonic_clock(), prefix_of(peer));
    std::string text = "refused: " + std::string{to_string(refusal.reason)};
    if (!refusal.log_detail.empty()) text += " (" + refusal.log_detail + ")";
    log(text);
  }

  /// Nothing spoke against it. One whose key does not unwrap ours can only leave; and so does, of several connections
  /// of a client that race on a lossy path, each but one. So it is no failed guess at a token either.
  void on_abandoned(const Refusal& abandoned) const {
    ++gatekeeper.counters.penstock_gate_abandoned_total;
    log("not let in: " + abandoned.log_detail + ": a wrong key, or one of several connections that raced");
  }
};

// A stranger's connection is held no longer than it takes to hear why.
constexpr Duration refusal_linger = std::chrono::seconds{2};

asio::awaitable<void> turn_away(TlsChannel& channel, const Visit& visit, const Refusal& refusal, bool enrolling) {
  visit.on_refused(refusal, enrolling);
  const auto failure = failure_envelope(refusal.wire);
  (void)co_await channel.async_send(failure);
  co_await channel.async_close(refusal_linger);
}

}  // namespace

AddressPrefix prefix_of(const asio::ip::tcp::endpoint& peer) {
  const auto of = [](const auto& address_bytes) { return prefix_of_address(std::as_bytes(std::span{address_bytes})); };
  const auto address = peer.address();
  return address.is_v4() ? of(address.to_v4().to_bytes()) : of(address.to_v6().to_bytes());
}

ChannelBinding binding_of(const TlsChannel& channel, const Pin& daemon) {
  ChannelBinding binding{.bind = channel.exporter(exporter_label_bind), .key = {}, .daemon = daemon};
  auto key = channel.exporter(exporter_label_key);
  binding.key = crypto::SecretArray<crypto::exporter_size>{key};
  crypto::wipe(key);
  return binding;
}

asio::awaitable<Result<MetDaemon>> async_meet(TlsChannel& channel, ClientOffer offer, Duration timeout) {
  channel.expire_after(timeout);
  const auto spki = channel.peer_spki();
  auto exchange = std::make_unique<ClientExchange>(std::move(offer), binding_of(channel, channel.peer_pin()),
                                                   std::vector<std::byte>{spki.begin(), spki.end()});

  auto hello = exchange->hello();
  if (auto sent = co_await channel.async_send_frame(std::move(hello)); !sent) co_return sent.error();
  const auto wrap = co_await channel.async_receive();
  if (!wrap) co_return wrap.error();
  auto proof = exchange->handle_wrap(*wrap);
  if (!proof) co_return proof.error();
  co_return MetDaemon{.exchange = std::move(exchange), .proof = *std::move(proof)};
}

asio::awaitable<Status> async_show_proof(TlsChannel& channel, MetDaemon& met, FirstRequest first_request) {
  // The daemon's key was judged during TLS; from here on it, too, may send long messages (a long list of grants).
  channel.set_proven();
  // One write, and one packet as a rule: there is no use in the one without the other.
  std::string frames = std::move(met.proof);
  if (first_request) frames += encode_frame(first_request(met.exchange->agreement()));
  co_return co_await channel.async_send_frame(std::move(frames));
}

asio::awaitable<Result<ClientSession>> async_enter(TlsChannel& channel, ClientOffer offer, Duration timeout,
                                                   FirstRequest first_request) {
  auto met = co_await async_meet(channel, std::move(offer), timeout);
  if (!met) co_return met.error();
  if (auto shown = co_await async_show_proof(channel, *met, std::move(first_request)); !shown) co_return shown.error();
  const auto answer = co_await channel.async_receive();
  if (!answer) co_return answer.error();
  auto session = met->exchange->handle_proof(answer->envelope);
  if (session) channel.expire_never();
  co_return session;
}

asio::awaitable<std::optional<Admitted>> async_admit(asio::ip::tcp::socket socket, const TlsContext& context,
                                                     Gatekeeper& gatekeeper, std::function<DaemonOffer()> make_offer) {
  std::error_code gone;
  const Visit visit{gatekeeper, socket.remote_endpoint(gone)};
  auto accepted = co_await TlsChannel::async_accept(std::move(socket), context, *gatekeeper.signer);
  if (!accepted) {
    visit.on_channel_failed(accepted.error());
    co_return std::nullopt;
  }
  TlsChannel channel = *std::move(accepted);

  auto hello = co_await channel.async_receive();
  if (!hello) {
    visit.on_channel_failed(hello.error());
    co_return std::nullopt;
  }
  const bool enrolling = hello->envelope.client_hello().has_enrol();
  if (enrolling && gatekeeper.limiter.blocked_until(gatekeeper.monotonic_clock(), prefix_of(visit.peer))) {
    wipe_enrolment(*hello);
    const auto refusal = make_refusal(AuthRefusal::rate_limited, "");
    co_await turn_away(channel, visit, refusal, enrolling);
    co_return std::nullopt;
  }

  DaemonOffer offer = make_offer();
  const Pin own_pin = offer.identity->pin();
  // Shared with the signer's job, which may outlive this coroutine when the daemon stops.
  const auto exchange = std::make_shared<DaemonExchange>(
      std::move(offer), binding_of(channel, own_pin),
      crypto::SecretArray<crypto::session_key_size>{crypto::random_array<crypto::session_key_size>()}, make_uuid());
  if (auto known = exchange->handle_hello(*std::move(hello), *gatekeeper.registry, gatekeeper.wall_clock()); !known) {
    co_await turn_away(channel, visit, known.error(), enrolling);
    co_return std::nullopt;
  }

  const auto wrapped = std::make_shared<std::optional<Admission<std::string>>>();
  // Named, not a temporary: g++ 12 destroys a closure with captures twice when it is an argument inside co_await.
  std::function<void()> wrap = [exchange, wrapped] { *wrapped = exchange->make_wrap(); };
  co_await gatekeeper.signer->async_go_on(std::move(wrap));  // who has come so far is not turned away for the queue
  if (!**wrapped) {
    co_await turn_away(channel, visit, (*wrapped)->error(), enrolling);
    co_return std::nullopt;
  }
  if (auto sent = co_await channel.async_send_frame(***wrapped); !sent) {
    visit.on_channel_failed(sent.error());
    co_return std::nullopt;
  }

  const auto proof = co_await channel.async_receive();
  if (!proof) {
    // A client that can not unwrap our key gives up by itself: who that was is for the log, and was not let in.
    if (proof.error().code != ErrorCode::PEER_LOST) {
      visit.on_channel_failed(proof.error());
    } else if (exchange->is_doomed()) {
      visit.on_refused(exchange->abandoned(), enrolling);
    } else {
      visit.on_abandoned(exchange->abandoned());
    }
    co_return std::nullopt;
  }
  auto admitted = exchange->handle_proof(*proof, *gatekeeper.registry, gatekeeper.wall_clock());
  if (!admitted) {
    co_await turn_away(channel, visit, admitted.error(), enrolling);
    co_return std::nullopt;
  }
  channel.set_proven();
  channel.expire_never();
  ++gatekeeper.counters.penstock_gate_admitted_total;
  if (admitted->session.enrolled) ++gatekeeper.counters.penstock_gate_enrolled_total;
  if (auto sent = co_await channel.async_send_frame(std::move(admitted->proof)); !sent) {
    visit.on_channel_failed(sent.error());
    co_return std::nullopt;
  }
  co_return Admitted{std::move(channel), std::move(admitted->session)};
}

}  // namespace penstock::control
