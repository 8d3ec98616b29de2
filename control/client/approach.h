#pragma once

#include <asio/awaitable.hpp>
#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "control/client/approach_words.h"
#include "control/client/client.h"
#include "control/gate/admission.h"
#include "control/gate/client_home.h"
#include "control/gate/tls_channel.h"
#include "control/gate/tls_context.h"
#include "control/gate/token.h"

namespace penstock::control {

/// Who comes, and whom to trust: all that differs between registering and returning.
struct Entry {
  TrustBasis trust;
  const Token* token = nullptr;
  std::vector<KnownDaemon> candidates;  // without a token: our registrations
  std::size_t lanes = 1;                // that are offered
};

/// A daemon that TLS has judged, and whose key exchange waits for our proof.
struct Approach {
  TlsChannel channel;
  MetDaemon met;
  KnownDaemon daemon;  // with a token: no more than its key, and ours for it
  WayThere way;
};

/// Resolves, connects (tcp_dial.h), judges the daemon's key and exchanges keys, within `config.connect_timeout` in all,
/// and the exchange within the gate's own time. Where the path is known to lose much several such ways are gone side by
/// side (connection_race.h) and the first that has come so far is the one: nothing of it binds the daemon yet.
/// Errors: RESOLVE_FAILED, CONNECT_REFUSED, NOT_REGISTERED, those of `named`, and what keeps the home from its keys.
asio::awaitable<Result<Approach>> async_approach(const ClientConfig& config, ClientHome& home, const TlsContext& tls,
                                                 const Entry& entry);

/// "HOST:PORT", IPv6 in brackets, for people.
std::string shown_address(const ClientConfig& config);

}  // namespace penstock::control
