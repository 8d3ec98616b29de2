#pragma once

#include <openssl/x509.h>

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "control/gate/pin.h"

namespace penstock::control {

/// What the user, the token and the client home say about the daemon at one address.
struct TrustBasis {
  std::string host = {};                              // name or address as the user wrote it: --ca
  std::string shown = {};                             // HOST:PORT, for messages; empty: host
  std::vector<Pin> pinned = {};                       // from the client home, next pins included; empty: never met
  bool met_here = false;                              // one of `pinned` has answered at this very address
  std::optional<Pin> token_pin = {};                  // from the token that is about to be used
  std::optional<Pin> fingerprint = {};                // --fingerprint
  std::optional<std::filesystem::path> ca_file = {};  // --ca: PEM certificates that may vouch for the host

  [[nodiscard]] const std::string& name() const { return shown.empty() ? host : shown; }
};

/// The daemon as TLS has shown it. Borrowed for the call.
struct PresentedDaemon {
  Pin pin = {};
  X509* certificate = nullptr;
  STACK_OF(X509) * chain = nullptr;  // may be null; intermediates that the daemon sent
};

/// Decides whether anything may be sent to this daemon. Every basis given must agree:
/// - pinned keys: the shown key is one of them, dates and names do not matter; else PIN_MISMATCH;
/// - --fingerprint: equal, else PIN_MISMATCH;
/// - the token's pin: equal, else TOKEN_REFUSED (the token is for another daemon);
/// - --ca without a pinned key: the chain leads to a certificate of the file, dates hold and the name or address is
///   the host's; else CERT_INVALID. An unreadable file is CONFIG_INVALID;
/// - none of these: PIN_UNKNOWN; the message shows the fingerprint to compare.
/// Reads the CA file and, for its dates, the wall clock (OpenSSL's); else pure.
Status judge_daemon(const TrustBasis& basis, const PresentedDaemon& daemon);

}  // namespace penstock::control
