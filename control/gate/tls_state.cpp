#include "control/gate/tls_state.h"

#include <openssl/err.h>

#include "common/check.h"
#include "common/escape.h"

namespace penstock::control {

void TlsState::step() {
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl.get());
  error = done == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl.get(), done);
  const unsigned long code = ERR_peek_error();
  reason = ERR_GET_REASON(code);
  reason_text = take_openssl_error();
}

void TlsState::take_output(std::string& to) {
  const std::size_t pending = BIO_ctrl_pending(out);
  if (pending == 0) return;
  const std::size_t before = to.size();
  to.resize(before + pending);
  std::size_t got = 0;
  BIO_read_ex(out, to.data() + before, pending, &got);
  PENSTOCK_CHECK(got == pending);
}

void TlsState::give_input(std::span<const std::byte> bytes) {
  std::size_t written = 0;
  BIO_write_ex(in, bytes.data(), bytes.size(), &written);
  PENSTOCK_CHECK(written == bytes.size());  // a memory BIO only fails for want of memory
}

Error not_penstock(const std::string& host, std::string_view why) {
  return {ErrorCode::NOT_PENSTOCK, escape_for_display(host) + " does not speak penstock: " + std::string{why}};
}

// Who hangs up at our hello without a word is no daemon of ours; but where one has been met it has no room at the
// moment, or is just being started again, and whoever tries again gets in.
Error hung_up(const TrustBasis& trust) {
  if (!trust.met_here) return not_penstock(trust.name(), "it hangs up without an answer; check the port");
  return {
      ErrorCode::SERVER_BUSY,
      escape_for_display(trust.name()) +
          " hangs up without an answer: it takes no more connections at the moment, or is being restarted; try again",
      {},
      ErrorSide::remote};
}

// A client's failed handshake in words. Which of the many reasons it was only matters to the sentence.
Error client_failure(const TlsState& tls) {
  const std::string& host = tls.judge.trust.name();
  if (tls.judge.verdict && !*tls.judge.verdict) return tls.judge.verdict->error();
  switch (tls.reason) {
    case SSL_R_TLSV1_ALERT_INTERNAL_ERROR:
      return {ErrorCode::SERVER_BUSY,
              escape_for_display(host) + " takes no more connections at the moment; try again",
              {},
              ErrorSide::remote};
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_HTTP_REQUEST:
      return not_penstock(host, "it answers without TLS; check the port (7440 unless the operator says otherwise)");
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
      return not_penstock(host, "it speaks TLS for something else; check the port");
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_UNSUPPORTED_PROTOCOL:
      return not_penstock(host, "it speaks no TLS 1.3; check the port");
    default:
      return not_penstock(host, "its TLS handshake failed (" + tls.reason_text + "); check the port");
  }
}

Error stranger(std::string_view why) { return {ErrorCode::NOT_PENSTOCK, std::string{why}, {}, ErrorSide::remote}; }

// The same at the daemon, for its log.
Error daemon_failure(const TlsState& tls) {
  switch (tls.reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
      return stranger("an HTTP request without TLS");
    case SSL_R_WRONG_VERSION_NUMBER:
      return stranger("no TLS");
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
      return stranger("TLS older than 1.3");
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return stranger("TLS for another protocol (ALPN)");
    default:
      return stranger("TLS handshake failed: " + tls.reason_text);
  }
}

}  // namespace penstock::control
