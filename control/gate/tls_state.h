#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "common/result.h"
#include "control/gate/openssl_handles.h"
#include "control/gate/tls_context.h"

namespace penstock::control {

/// What OpenSSL works on. Alone in an object of its own, so that a handshake job can keep it without keeping a socket.
/// Private to TlsChannel. Threads: one at a time.
struct TlsState {
  SslHandle ssl;
  BIO* in = nullptr;   // owned by ssl: bytes from the peer
  BIO* out = nullptr;  // owned by ssl: bytes for the peer
  DaemonJudge judge;

  // The last handshake step.
  int error = SSL_ERROR_NONE;
  int reason = 0;
  std::string reason_text;

  /// Goes on with the handshake as far as the bytes at hand allow; how that went is in `error` and the two after it.
  void step();
  /// Appends to `to` what is for the peer.
  void take_output(std::string& to);
  void give_input(std::span<const std::byte> bytes);
};

// A failed handshake in words. Which of OpenSSL's many reasons it was only matters to the sentence.

/// NOT_PENSTOCK: `host` answers, but not as we do.
[[nodiscard]] Error not_penstock(const std::string& host, std::string_view why);
/// The client's, of a daemon that hung up at the hello.
[[nodiscard]] Error hung_up(const TrustBasis& trust);
/// The client's, of any other end of the handshake.
[[nodiscard]] Error client_failure(const TlsState& tls);
/// The daemon's, for its log: of one that is no client of ours.
[[nodiscard]] Error stranger(std::string_view why);
[[nodiscard]] Error daemon_failure(const TlsState& tls);

}  // namespace penstock::control
