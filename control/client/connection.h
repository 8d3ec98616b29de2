#pragma once

#include <asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "control/client/approach.h"
#include "control/client/approach_words.h"
#include "control/client/client.h"
#include "control/gate/admission.h"
#include "control/gate/client_home.h"
#include "control/gate/tls_channel.h"
#include "control/gate/tls_context.h"
#include "control/session/session_link.h"

namespace penstock::control {

/// A proven session with a daemon, not yet used.
struct OpenedSession {
  std::shared_ptr<SessionLink> link;
  /// Set: we have shown our proof, and the daemon's is the link's first message, for accept_daemon. Until then it is
  /// known by its TLS key alone, and of `session` there are agreement and keys.
  std::unique_ptr<ClientExchange> unproven;
  ClientSession session;
  KnownDaemon daemon;  // our registration with it
  std::vector<std::byte> daemon_spki;
  WayThere way;
  bool registered_now = false;
  bool first_request_sent = false;
};

/// Resolves, connects, judges the daemon's key and proves who we are; with a token at hand an unregistered host is
/// registered on the way. Every call is a new connection and a new key exchange.
/// Errors: RESOLVE_FAILED, CONNECT_REFUSED, NOT_REGISTERED naming the command to run, and the gate's.
/// `lanes`: so many are offered for a transfer; how many the daemon takes, the agreement says. `first_request` leaves
/// with our proof, unless we have to register first, or it comes to nothing: OpenedSession::first_request_sent. It is
/// asked once, of a daemon that TLS has judged, and borrows what it is given until it has returned. `ahead`: the caller
/// would go on before the daemon's proof, where that can be had: OpenedSession::unproven.
using SessionRequest = std::function<asio::awaitable<std::optional<proto::Envelope>>(
    const KnownDaemon& daemon, const TlsChannel& channel, const Agreement& agreement)>;
asio::awaitable<Result<OpenedSession>> async_open_session(const ClientConfig& config, ClientHome& home,
                                                          const TlsContext& tls, std::size_t lanes = 1,
                                                          SessionRequest first_request = {}, bool ahead = false);

/// Whether a transfer may begin before the daemon has answered: both ends know how, it has one lane, and nothing is
/// left to be found out.
[[nodiscard]] bool may_go_ahead(const Agreement& agreement);

/// The message that has come first in an unproven session. Errors: those of ClientExchange::handle_proof, and what
/// keeps the home from noting what it says.
Status accept_daemon(const ClientConfig& config, ClientHome& home, OpenedSession& opened,
                     const proto::Envelope& envelope);
/// Registers with this token, whatever the home knows of the host: the token vouches for the daemon's key.
asio::awaitable<Result<OpenedSession>> async_register(const ClientConfig& config, ClientHome& home,
                                                      const TlsContext& tls, std::string token_text,
                                                      std::size_t lanes = 1);

}  // namespace penstock::control
