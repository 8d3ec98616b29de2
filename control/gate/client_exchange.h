#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "control/gate/framing.h"
#include "control/gate/key_exchange.h"
#include "control/gate/token.h"
#include "control/gate/transcript.h"

namespace penstock::control {

/// Who this client is and what it offers.
struct ClientOffer {
  const crypto::RsaPrivateKey* key = nullptr;  // borrowed until handle_wrap has returned
  std::optional<Uuid> uuid = {};               // a registered client; else `token` enrols it
  const Token* token = nullptr;                // borrowed for hello(); its secret is sent, the daemon being judged
  std::string client_name = {};                // with a token: for the operator's list
  std::vector<crypto::AeadAlgorithm> suites = preferred_suites();
  std::vector<ConnectionId> connection_ids =
      {};  // our own, one for each lane we could serve: 1..crypto::lanes_max, random
  std::vector<std::string> capabilities = {};
  std::string software = {};
};

/// The client's half of the key exchange. Pure: messages in, messages out; one use.
///   idle --hello()--> wait_wrap --handle_wrap()--> wait_proof --handle_proof()--> done
///   any --error--> failed
/// Any error ends it; nothing is learned from calling on. Errors with side remote are what the daemon said:
/// AUTH_FAILED, TOKEN_REFUSED, VERSION_MISMATCH, SERVER_BUSY... Ours: AUTH_FAILED when the blob does not unwrap under
/// our key on this connection or the daemon's proof is wrong; VERSION_MISMATCH; NOT_PENSTOCK for messages that no
/// daemon sends.
class ClientExchange {
 public:
  ClientExchange(ClientOffer offer, ChannelBinding binding, std::vector<std::byte> daemon_spki);

  /// Step 1. The bytes to send (a whole frame).
  std::string hello();
  /// Step 2 in, step 3 out. Costs one RSA private operation (3 ms).
  Result<std::string> handle_wrap(const Frame& frame);
  /// What was agreed. Requires: handle_wrap succeeded; the daemon has yet to prove itself.
  [[nodiscard]] const Agreement& agreement() const { return agreement_; }
  /// The session as far as it is known before the daemon's proof: agreement and keys. Whoever asks goes on by them
  /// before step 4, with a daemon that only TLS has judged; handle_proof then leaves the lanes' secrets out. Once.
  /// Requires: handle_wrap succeeded.
  [[nodiscard]] ClientSession take_unproven();
  /// Step 4 in: the session.
  Result<ClientSession> handle_proof(const proto::Envelope& envelope);

 private:
  enum class State : std::uint8_t { idle, wait_wrap, wait_proof, done, failed };
  Error fail(Error error);

  State state_ = State::idle;
  ClientOffer offer_;
  ChannelBinding binding_;
  std::vector<std::byte> daemon_spki_;
  Transcript transcript_;
  Agreement agreement_;
  std::optional<crypto::SessionSecrets> secrets_;
};

}  // namespace penstock::control
