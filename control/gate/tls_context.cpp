#include "control/gate/tls_context.h"

#include <openssl/err.h>

#include <array>

namespace penstock::control {
namespace {

// ALPN's wire form: a length byte, then the name.
constexpr std::array<unsigned char, 11> alpn_wire{10, 'p', 'e', 'n', 's', 't', 'o', 'c', 'k', '/', '1'};
static_assert(alpn_wire.size() == alpn_name.size() + 1 && alpn_wire[0] == alpn_name.size());

Error refused(std::string_view what) {
  return {ErrorCode::INTERNAL, "OpenSSL refuses " + std::string{what} + ": " + take_openssl_error()};
}

int choose_alpn(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
                unsigned int in_length, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_length, alpn_wire.data(), alpn_wire.size(), in, in_length) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// Called as soon as the daemon's certificate is there: a refusal ends the handshake before our Finished.
int judge_certificate(X509_STORE_CTX* context, void*) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* judge = static_cast<DaemonJudge*>(SSL_get_app_data(ssl));
  X509* certificate = X509_STORE_CTX_get0_cert(context);
  if (judge != nullptr && certificate != nullptr) {
    judge->spki = spki_of(certificate);
    judge->pin = pin_of_spki(judge->spki);
    judge->verdict = judge_daemon(
        judge->trust, {.pin = judge->pin, .certificate = certificate, .chain = X509_STORE_CTX_get0_untrusted(context)});
    if (judge->verdict->ok()) return 1;
  }
  X509_STORE_CTX_set_error(context, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

Result<SslContextHandle> common_context() {
  SslContextHandle context{SSL_CTX_new(TLS_method())};
  if (!context) return refused("a TLS context");
  SSL_CTX* c = context.get();
  if (SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) != 1 || SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) != 1)
    return refused("TLS 1.3");
  // Every connection is a full handshake: nothing to resume from is ever given out, kept or taken.
  SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  if (SSL_CTX_set_num_tickets(c, 0) != 1 || SSL_CTX_set_max_early_data(c, 0) != 1) return refused("no tickets");
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);  // idle sessions by the thousand hold no record buffers
  return context;
}

}  // namespace

Result<TlsContext> TlsContext::for_daemon(const Identity& identity) {
  auto context = common_context();
  if (!context) return context.error();
  SSL_CTX* c = context->get();
  const auto chain = identity.chain();
  if (SSL_CTX_use_certificate(c, chain.front().get()) != 1 || SSL_CTX_use_PrivateKey(c, identity.key().native()) != 1)
    return refused("the identity");
  for (const auto& certificate : chain.subspan(1))
    if (SSL_CTX_add1_chain_cert(c, certificate.get()) != 1) return refused("the certificate chain");
  SSL_CTX_set_alpn_select_cb(c, choose_alpn, nullptr);
  SSL_CTX_set_verify(c, SSL_VERIFY_NONE, nullptr);  // clients prove themselves by the key exchange
  return TlsContext{*std::move(context)};
}

Result<TlsContext> TlsContext::for_client() {
  auto context = common_context();
  if (!context) return context.error();
  SSL_CTX* c = context->get();
  if (SSL_CTX_set_alpn_protos(c, alpn_wire.data(), alpn_wire.size()) != 0) return refused("ALPN");
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(c, judge_certificate, nullptr);
  return TlsContext{*std::move(context)};
}

}  // namespace penstock::control
