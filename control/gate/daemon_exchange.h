#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "control/gate/framing.h"
#include "control/gate/identity.h"
#include "control/gate/key_exchange.h"
#include "control/gate/transcript.h"
#include "control/registry/registry.h"

namespace penstock::control {

/// Why the daemon did not let a client in; for its log and counters alone.
enum class AuthRefusal : std::uint8_t {
  malformed,      // not the message that is due, or a field beyond its bounds
  no_version,     // no common protocol version
  no_suite,       // no common AEAD
  unknown_uuid,   // nobody is registered so
  revoked,        // the operator has revoked this client
  wrong_key,      // the proof does not verify: another private key, or a relayed or altered message
  token_unknown,  // enrolment: see TokenRefusal
  token_wrong_secret,
  token_expired,
  token_used,
  token_revoked,
  key_refused,   // enrolment: not an RSA key of 3072-4096 bits with e = 65537
  key_in_use,    // enrolment: the key belongs to another registration
  rate_limited,  // too many failures from this address
  store_failed,  // the registry could not be read or written
};
std::string_view to_string(AuthRefusal reason);

/// The end of an exchange: what the peer may hear, and what only the log may.
struct Refusal {
  AuthRefusal reason = {};
  Error wire = {};              // told to the peer: unknown, wrong and revoked are all AUTH_FAILED with one text
  std::string log_detail = {};  // UUID, token id or cause; escaped already
};
/// The refusal with the sentence that the peer hears.
Refusal make_refusal(AuthRefusal reason, std::string log_detail);
template <class T>
using Admission = Result<T, Refusal>;

/// What the daemon is and offers. Everything borrowed outlives the exchange.
struct DaemonOffer {
  const Identity* identity = nullptr;
  const ReceiptKey* receipt_key = nullptr;
  std::vector<crypto::AeadAlgorithm> suites = preferred_suites();
  std::vector<ConnectionId> connection_ids = {};  // ours, one for each lane we could serve, unique in this daemon; the
                                                  // first `lanes` of them are used
  /// Another id, for a client that wants more lanes than there are ids; nullopt: it gets no more. May be empty. Called
  /// while the hello is handled, by an unproven client's wish.
  std::function<std::optional<ConnectionId>()> one_more_id = {};
  std::uint16_t udp_port = 0;
  std::string udp_host = {};
  std::vector<std::string> capabilities = {};
  std::vector<Pin> next_pins = {};
  std::string software = {};
};

/// The daemon's half of the key exchange, enrolment included. Pure but for the registry it is given: messages and time
/// in, messages out; one use.
///   wait_hello --handle_hello()--> wrapping --make_wrap()--> wait_proof --handle_proof()--> done
///   any --refusal--> refused
/// Before the proof verifies nothing is told apart: an unknown UUID and a revoked one get a wrap of the same shape
/// after the same work, and fail at the proof as a wrong key does. The registry is read once and written only after the
/// proof.
class DaemonExchange {
 public:
  /// `session_key` is the fresh K, `fresh_uuid` the name for a new client: randomness is an argument.
  DaemonExchange(DaemonOffer offer, ChannelBinding binding, crypto::SecretArray<crypto::session_key_size> session_key,
                 Uuid fresh_uuid);

  /// Step 1 in. Looks the client or the token up. Overwrites the token's secret in `frame`, which is why it takes it.
  Admission<void> handle_hello(Frame frame, Registry& registry, UnixSeconds now);
  /// Step 2 out: the bytes to send. Checks the key and wraps K: up to a few ms of CPU, meant for the handshake thread;
  /// touches nothing but this object.
  Admission<std::string> make_wrap();
  struct Accepted {
    std::string proof;  // step 4: the bytes to send
    DaemonSession session;
  };
  /// Step 3 in. Verifies the proof, and only then acts: an enrolment becomes durable here, before step 4 exists.
  /// (The record's `last_seen` is the caller's to update, at leisure: it costs a sync.)
  Admission<Accepted> handle_proof(const Frame& frame, Registry& registry, UnixSeconds now);
  /// What the log may say of a client that leaves after our wrap instead of proving itself. One whose key does not
  /// unwrap it can do nothing else. Requires: make_wrap succeeded.
  [[nodiscard]] Refusal abandoned() const;
  /// Its proof would have been refused, whatever it is. Known after make_wrap.
  [[nodiscard]] bool is_doomed() const { return doomed_.has_value(); }
  /// Is the client asking to be registered? Known after handle_hello.
  [[nodiscard]] bool enrolling() const { return enrolment_.has_value(); }

 private:
  enum class State : std::uint8_t { wait_hello, wrapping, wait_proof, done, refused };
  struct PendingEnrolment {
    TokenId token;
    crypto::SecretBytes secret;
    std::string client_name;
  };
  Admission<void> judge_hello(const Frame& frame, Registry& registry, UnixSeconds now);
  Refusal refuse(AuthRefusal reason, std::string log_detail);
  [[nodiscard]] std::string who() const;
  std::optional<Refusal> agree(const proto::ClientHello& hello);
  Admission<void> begin_enrolment(const proto::Enrol& enrol, Registry& registry, UnixSeconds now);
  Admission<void> look_up(const Uuid& uuid, Registry& registry);
  Admission<ClientRecord> activate(Registry& registry, UnixSeconds now);
  [[nodiscard]] std::string encode_proof(const ClientRecord& client) const;

  State state_ = State::wait_hello;
  DaemonOffer offer_;
  ChannelBinding binding_;
  crypto::SecretArray<crypto::session_key_size> session_key_;
  Uuid fresh_uuid_;
  Transcript transcript_;
  Agreement agreement_;
  crypto::AeadAlgorithm suite_ = crypto::AeadAlgorithm::aes_256_gcm;
  std::optional<PendingEnrolment> enrolment_;
  std::vector<std::byte> wrap_to_;     // SPKI of the registered, presented or decoy key
  std::optional<AuthRefusal> doomed_;  // already known to fail; told to nobody before the proof
  std::optional<crypto::SessionSecrets> secrets_;
};

/// Overwrites what of a token there is in a hello, which is not to be read any more.
void wipe_enrolment(Frame& hello);

/// The key that unknown clients' blobs are wrapped under: RSA-3072, as our own clients make, but nobody's. The same for
/// the whole process.
std::span<const std::byte> decoy_spki();

}  // namespace penstock::control
