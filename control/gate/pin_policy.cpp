#include "control/gate/pin_policy.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "common/escape.h"
#include "control/gate/openssl_handles.h"

namespace penstock::control {
namespace {

bool contains(const std::vector<Pin>& pins, const Pin& pin) { return std::ranges::find(pins, pin) != pins.end(); }

std::string listed(const std::vector<Pin>& pins) {
  std::string text;
  for (const auto& pin : pins) text += (text.empty() ? "" : " or ") + to_string(pin);
  return text;
}

bool names_host(X509* certificate, const std::string& host) {
  // An address is looked for among the certificate's addresses, never among its names.
  return X509_check_ip_asc(certificate, host.c_str(), 0) == 1 ||
         X509_check_host(certificate, host.data(), host.size(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, nullptr) == 1;
}

Status check_ca(const TrustBasis& basis, const PresentedDaemon& daemon) {
  const std::string file = basis.ca_file->string();
  const OpensslHandle<X509_STORE> store{X509_STORE_new()};
  const OpensslHandle<X509_STORE_CTX> context{X509_STORE_CTX_new()};
  if (!store || !context) return Error{ErrorCode::INTERNAL, "out of memory while a certificate was checked"};
  if (X509_STORE_load_file(store.get(), file.c_str()) != 1) {
    ERR_clear_error();
    return Error{ErrorCode::CONFIG_INVALID, "cannot use " + file + ": it holds no PEM certificates that can be read",
                 file};
  }
  if (X509_STORE_CTX_init(context.get(), store.get(), daemon.certificate, daemon.chain) != 1)
    return Error{ErrorCode::INTERNAL, "cannot check a certificate: " + take_openssl_error()};
  // Purpose serverAuth; trusted non-root certificates of the file may end a chain, since the user named them.
  X509_STORE_CTX_set_default(context.get(), "ssl_server");
  X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(context.get()), X509_V_FLAG_PARTIAL_CHAIN);
  const bool chained = X509_verify_cert(context.get()) == 1;
  const int reason = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  if (!chained) {
    return Error{ErrorCode::CERT_INVALID, "the certificate of " + escape_for_display(basis.name()) +
                                              " is not vouched for by " + file + ": " +
                                              X509_verify_cert_error_string(reason)};
  }
  if (!names_host(daemon.certificate, basis.host)) {
    return Error{ErrorCode::CERT_INVALID, "the certificate that " + escape_for_display(basis.name()) +
                                              " shows is for another name; connect by the name in it, or pin the key "
                                              "with --fingerprint " +
                                              to_string(daemon.pin)};
  }
  return {};
}

}  // namespace

Status judge_daemon(const TrustBasis& basis, const PresentedDaemon& daemon) {
  const std::string host = escape_for_display(basis.name());
  const std::string shown = to_string(daemon.pin);
  if (!basis.pinned.empty() && !contains(basis.pinned, daemon.pin)) {
    return Error{ErrorCode::PIN_MISMATCH,
                 "THE KEY OF " + host + " HAS CHANGED: it shows " + shown + ", known is " + listed(basis.pinned) +
                     "; somebody may be in between. If its operator confirms the new key, ask for a new token and run "
                     "`penstock register` with it"};
  }
  if (basis.fingerprint && *basis.fingerprint != daemon.pin) {
    return Error{ErrorCode::PIN_MISMATCH, host + " shows the key " + shown + ", not " + to_string(*basis.fingerprint) +
                                              " as given with --fingerprint; compare it with the daemon's ready line"};
  }
  if (basis.token_pin && *basis.token_pin != daemon.pin) {
    return Error{ErrorCode::TOKEN_REFUSED, "this token is for the daemon with the key " + to_string(*basis.token_pin) +
                                               ", but " + host + " shows " + shown +
                                               "; the token was not sent. Check the host, or ask for another token"};
  }
  if (basis.ca_file && basis.pinned.empty()) return check_ca(basis, daemon);
  if (basis.pinned.empty() && !basis.fingerprint && !basis.token_pin) {
    return Error{ErrorCode::PIN_UNKNOWN, "nothing vouches for the key of " + host + " (" + shown +
                                             "); register with a token of its operator, or compare that fingerprint "
                                             "and give it with --fingerprint"};
  }
  return {};
}

}  // namespace penstock::control
