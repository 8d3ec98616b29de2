#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "control/registry/records.h"

namespace penstock::control {

/// Why a token does not open the gate. On the wire all of them are TOKEN_REFUSED; the daemon's log tells them apart.
enum class TokenRefusal : std::uint8_t {
  unknown,       // no token has this id
  wrong_secret,  // the id exists, the secret is another
  expired,       // past its time
  used,          // by another key
  revoked,       // by the operator, or the client that it made was
  key_in_use,    // the key belongs to a client that another token made
};
std::string_view to_string(TokenRefusal refusal);

/// What a client shows to become registered.
struct Enrolment {
  TokenId token = {};
  std::span<const std::byte> secret = {};      // 32 bytes, borrowed for the call
  std::span<const std::byte> public_key = {};  // DER SubjectPublicKeyInfo, already judged; borrowed for the call
  std::string client_name = {};
};

/// A token that would be taken now.
struct TokenStanding {
  std::string user = {};
  std::vector<Grant> grants = {};
  std::optional<Uuid> registered = {};  // the same key used this token before (a lost reply): the client's UUID
};

/// Either the value, or why the gate stays shut. Failures of the store itself are the outer Result's.
template <class T>
using TokenVerdict = Result<T, TokenRefusal>;

/// Who may: clients, tokens, grants, and the log of what they did. An interface, because fleets will keep it in
/// PostgreSQL; SQLite is the embedded default (sqlite_registry.h).
/// Errors: IO_ERROR naming the store when it can not be read or written; NOT_FOUND for an id that does not exist.
/// Every call is one transaction: it happened wholly or not at all, and is durable when it returns.
/// Threads: one owner per object; several objects and processes may share one store. Time is passed in.
class Registry {
 public:
  Registry() = default;
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;
  virtual ~Registry() = default;

  // Tokens.
  /// Requires: a fresh id. USAGE for more than grants_max grants, as in set_grants.
  virtual Status add_token(const TokenRecord& token) = 0;
  virtual Result<std::vector<TokenRecord>> tokens() = 0;
  /// A token already used stays used; its client is not touched.
  virtual Status revoke_token(const TokenId& id, UnixSeconds now) = 0;
  /// Would this enrolment succeed now? Changes nothing. The secret is compared in constant time, and an unknown id
  /// takes as long as a wrong secret.
  virtual Result<TokenVerdict<TokenStanding>> check_enrolment(const Enrolment& enrolment, UnixSeconds now) = 0;
  /// Marks the token used and activates the key as client `fresh`, in one transaction; checks everything again. The
  /// same token with the same key again changes nothing and answers the client made before.
  /// Requires: possession of the key has been proven.
  virtual Result<TokenVerdict<ClientRecord>> enrol(const Enrolment& enrolment, const Uuid& fresh, UnixSeconds now) = 0;

  // Clients.
  /// nullopt when unknown. A revoked client is found, with `revoked` set.
  virtual Result<std::optional<ClientRecord>> find_client(const Uuid& uuid) = 0;
  virtual Result<std::vector<ClientRecord>> clients() = 0;
  virtual Status set_grants(const Uuid& uuid, std::span<const Grant> grants) = 0;
  virtual Status revoke_client(const Uuid& uuid, UnixSeconds now) = 0;
  virtual Status mark_seen(const Uuid& uuid, UnixSeconds now) = 0;
  /// Rises whenever anybody, in any process, has changed clients or grants: polled (twice a second) by the daemon so
  /// that a revocation ends live sessions within 1 s. Cheap: reads no table.
  virtual Result<std::uint64_t> change_counter() = 0;

  // The log of transfers.
  virtual Status log_transfer_started(const TransferRecord& row) = 0;
  /// Fills in bytes, files, end and outcome of the row with `row.id`.
  virtual Status log_transfer_ended(const TransferRecord& row) = 0;
  /// Whose transfer has this id; nullopt: nobody's.
  virtual Result<std::optional<Uuid>> find_transfer_client(const std::array<std::byte, 16>& id) = 0;
  /// Newest first, at most `limit`.
  virtual Result<std::vector<TransferRecord>> recent_transfers(std::size_t limit) = 0;
};

}  // namespace penstock::control
