#pragma once

#include <asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/time.h"
#include "control/gate/client_exchange.h"
#include "control/gate/daemon_exchange.h"
#include "control/gate/failure.h"
#include "control/gate/rate_limiter.h"
#include "control/gate/tls_channel.h"

namespace penstock::control {

/// Client: runs the whole key exchange on a fresh channel. On success the channel is proven and carries requests; on
/// failure it is to be dropped. `offer.uuid` or `offer.token` says who comes.
/// `first_request`, where given, makes a request that leaves right behind our proof: the daemon, whose key TLS has
/// judged, acts on it once the proof is verified, and a round trip is saved. Errors: those of ClientExchange and of the
/// channel; TIMED_OUT after `timeout`.
using FirstRequest = std::function<proto::Envelope(const Agreement& agreement)>;
asio::awaitable<Result<ClientSession>> async_enter(TlsChannel& channel, ClientOffer offer,
                                                   Duration timeout = gate_timeout, FirstRequest first_request = {});

/// A key exchange up to the point from which the daemon acts on it: several may be brought so far side by side.
struct MetDaemon {
  std::unique_ptr<ClientExchange> exchange;
  std::string proof;  // a frame, not yet shown
};
/// Hello and wrap: whatever comes of it may be dropped without a trace but of a stranger. Errors: those of
/// ClientExchange and of the channel; TIMED_OUT after `timeout`, which runs on until TlsChannel::expire_never.
asio::awaitable<Result<MetDaemon>> async_meet(TlsChannel& channel, ClientOffer offer, Duration timeout);
/// Shows the proof, and the request behind it. The next message is for ClientExchange::handle_proof, and once that has
/// succeeded the deadline ends (TlsChannel::expire_never). `met.proof` is used up.
asio::awaitable<Status> async_show_proof(TlsChannel& channel, MetDaemon& met, FirstRequest first_request);

/// What the gate counts; names are those of the metrics. One owner.
struct GateCounters {
  std::uint64_t penstock_gate_strangers_total = 0;  // connections that did not speak penstock
  std::uint64_t penstock_gate_busy_total = 0;       // turned away, the signer's queue being full
  std::uint64_t penstock_gate_timeouts_total = 0;   // no proof within 10 s
  std::uint64_t penstock_gate_refused_total = 0;    // key exchanges refused, for whatever reason
  std::uint64_t penstock_gate_abandoned_total =
      0;  // left by the client before its proof, for all we know of its own will
  std::uint64_t penstock_gate_admitted_total = 0;
  std::uint64_t penstock_gate_enrolled_total = 0;
};

/// Whom a connection counts against.
AddressPrefix prefix_of(const asio::ip::tcp::endpoint& peer);

/// The binding of a channel to the daemon key shown on it (the client: peer_pin(); the daemon: its own).
ChannelBinding binding_of(const TlsChannel& channel, const Pin& daemon);

/// What admits clients for one daemon. Everything borrowed outlives it. One owner: the control thread.
struct Gatekeeper {
  Registry* registry = nullptr;
  HandshakeExecutor* signer = nullptr;
  RateLimiter limiter;
  GateCounters counters;
  std::function<UnixSeconds()> wall_clock;     // for expiry and records
  std::function<TimePoint()> monotonic_clock;  // for the rate limit
  /// One line for the daemon's log: info level; escaped, no newline; names the peer's address.
  std::function<void(std::string_view line)> log;
};

/// Daemon: TLS, then the key exchange, within 10 s in all; counts and logs what fails. nullptr when the peer was not
/// let in: it has been told what it may hear, and the connection is closed.
/// `make_offer` is called once, after TLS, so that connection ids are reserved for real clients alone; ids of an offer
/// that came to nothing are the caller's to release.
struct Admitted {
  TlsChannel channel;
  DaemonSession session;
};
asio::awaitable<std::optional<Admitted>> async_admit(asio::ip::tcp::socket socket, const TlsContext& context,
                                                     Gatekeeper& gatekeeper, std::function<DaemonOffer()> make_offer);

}  // namespace penstock::control
