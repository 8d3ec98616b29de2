#pragma once

#include <openssl/ssl.h>

#include "common/result.h"
#include "control/gate/identity.h"
#include "control/gate/openssl_handles.h"
#include "control/gate/pin_policy.h"

namespace penstock::control {

// Specification (PROTOCOL section 1).
inline constexpr std::string_view alpn_name = "penstock/1";
inline constexpr std::string_view exporter_label_bind = "EXPORTER-penstock/1 bind";
inline constexpr std::string_view exporter_label_key = "EXPORTER-penstock/1 key";

/// What one client connection thinks of its daemon; found by the verify callback through SSL_set_app_data, so it
/// outlives the SSL object's handshake.
struct DaemonJudge {
  TrustBasis trust;
  std::optional<Status> verdict;  // nullopt: no certificate has been shown
  Pin pin;
  std::vector<std::byte> spki;
};

/// What every TLS connection of one end shares: TLS 1.3 alone, ALPN penstock/1, every connection a full handshake (no
/// tickets, no PSK, no early data). Immutable; must outlive the handshakes made with it.
class TlsContext {
 public:
  /// Shows `identity`; refuses by alert who does not offer ALPN penstock/1. INTERNAL when OpenSSL refuses.
  static Result<TlsContext> for_daemon(const Identity& identity);
  /// Certificates are judged per connection by its DaemonJudge, during the handshake: who has none is refused.
  static Result<TlsContext> for_client();

  [[nodiscard]] SSL_CTX* get() const { return context_.get(); }  // borrowed

 private:
  explicit TlsContext(SslContextHandle context) : context_(std::move(context)) {}
  SslContextHandle context_;
};

}  // namespace penstock::control
