#include "control/registry/sqlite_registry.h"

#include <algorithm>
#include <utility>

#include "common/bytes/hex.h"
#include "common/check.h"
#include "common/crypto/secret_bytes.h"
#include "common/digest/sha256.h"
#include "control/registry/registry_files.h"
#include "control/registry/sqlite_database.h"

namespace penstock::control {
namespace {

constexpr std::int64_t schema_version = 1;

// Labels, names and paths are BLOBs: they are bytes, and hostile ones at that. `position` keeps a grant list's order.
constexpr const char* schema = R"sql(
CREATE TABLE clients (
  uuid BLOB PRIMARY KEY, user BLOB NOT NULL, name BLOB NOT NULL, public_key BLOB NOT NULL,
  key_sha256 BLOB NOT NULL UNIQUE, created INTEGER NOT NULL, last_seen INTEGER, revoked INTEGER) WITHOUT ROWID;
CREATE TABLE client_grants (
  client BLOB NOT NULL REFERENCES clients(uuid), position INTEGER NOT NULL, text BLOB NOT NULL,
  PRIMARY KEY (client, position)) WITHOUT ROWID;
CREATE TABLE tokens (
  id BLOB PRIMARY KEY, secret_sha256 BLOB NOT NULL, user BLOB NOT NULL, created INTEGER NOT NULL,
  expires INTEGER NOT NULL, used_by BLOB REFERENCES clients(uuid), revoked INTEGER) WITHOUT ROWID;
CREATE TABLE token_grants (
  token BLOB NOT NULL REFERENCES tokens(id), position INTEGER NOT NULL, text BLOB NOT NULL,
  PRIMARY KEY (token, position)) WITHOUT ROWID;
CREATE TABLE transfers (
  id BLOB PRIMARY KEY, client BLOB NOT NULL, direction INTEGER NOT NULL, path BLOB NOT NULL, bytes INTEGER NOT NULL,
  files INTEGER NOT NULL, started INTEGER NOT NULL, ended INTEGER, outcome BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX transfers_by_start ON transfers(started);
CREATE TABLE changes (counter INTEGER NOT NULL);
INSERT INTO changes VALUES (0);
PRAGMA user_version = 1;
)sql";

template <std::size_t N>
std::array<std::byte, N> fixed(const std::vector<std::byte>& blob) {
  std::array<std::byte, N> out{};
  std::copy_n(blob.begin(), std::min(N, blob.size()), out.begin());
  return out;
}

std::optional<UnixSeconds> optional_time(const SqliteQuery& row, int column) {
  const auto seconds = row.optional_number(column);
  if (!seconds) return std::nullopt;
  return UnixSeconds{*seconds};
}

// SQLite's integers are signed; a transfer of more than 2^63 bytes does not exist (transfer space has 48 bits).
std::int64_t as_integer(std::uint64_t value) {
  return static_cast<std::int64_t>(std::min(value, std::uint64_t{1} << 62));
}

Error not_found(std::string what) { return {ErrorCode::NOT_FOUND, std::move(what)}; }

class SqliteRegistry final : public Registry {
 public:
  explicit SqliteRegistry(std::unique_ptr<SqliteDatabase> database) : database_(std::move(database)) {}

  Status prepare_schema();

  Status add_token(const TokenRecord& token) override;
  Result<std::vector<TokenRecord>> tokens() override;
  Status revoke_token(const TokenId& id, UnixSeconds now) override;
  Result<TokenVerdict<TokenStanding>> check_enrolment(const Enrolment& enrolment, UnixSeconds now) override;
  Result<TokenVerdict<ClientRecord>> enrol(const Enrolment& enrolment, const Uuid& fresh, UnixSeconds now) override;
  Result<std::optional<ClientRecord>> find_client(const Uuid& uuid) override;
  Result<std::vector<ClientRecord>> clients() override;
  Status set_grants(const Uuid& uuid, std::span<const Grant> grants) override;
  Status revoke_client(const Uuid& uuid, UnixSeconds now) override;
  Status mark_seen(const Uuid& uuid, UnixSeconds now) override;
  Result<std::uint64_t> change_counter() override;
  Status log_transfer_started(const TransferRecord& row) override;
  Status log_transfer_ended(const TransferRecord& row) override;
  Result<std::optional<Uuid>> find_transfer_client(const std::array<std::byte, 16>& id) override;
  Result<std::vector<TransferRecord>> recent_transfers(std::size_t limit) override;

 private:
  Result<std::vector<Grant>> read_grants(SqliteQuery query);
  Status insert_grants(const char* sql, std::span<const std::byte> owner, std::span<const Grant> grants);
  Result<std::optional<TokenRecord>> find_token(const TokenId& id);
  Status count_change() { return database_->query("UPDATE changes SET counter = counter + 1").run(); }

  std::unique_ptr<SqliteDatabase> database_;
};

Status SqliteRegistry::prepare_schema() {
  // Under a write lock: `token` and `serve` may both be the first.
  auto transaction = SqliteTransaction::begin(*database_);
  if (!transaction) return transaction.error();
  std::int64_t version = 0;
  {
    auto query = database_->query("PRAGMA user_version");
    const auto row = query.step();
    if (!row) return row.error();
    version = query.number(0);
  }
  if (version == 0) {
    if (auto made = database_->execute(schema); !made) return made;
  } else if (version != schema_version) {
    Error error = database_->error(0);
    return Error{ErrorCode::CONFIG_INVALID,
                 error.path + " was written by another version of penstock (schema " + std::to_string(version) +
                     ", this one knows " + std::to_string(schema_version) + "); use that version",
                 error.path};
  }
  return transaction->commit();
}

Result<std::vector<Grant>> SqliteRegistry::read_grants(SqliteQuery query) {
  std::vector<Grant> grants;
  for (;;) {
    const auto row = query.step();
    if (!row) return row.error();
    if (!*row) return grants;
    auto grant = parse_grant(query.text(0));
    // A grant that can not be read must not be taken for a missing one: a missing narrower grant would widen rights.
    if (!grant) return Error{ErrorCode::CONFIG_INVALID, "the registry holds a damaged grant: " + grant.error().message};
    grants.push_back(*std::move(grant));
  }
}

Status SqliteRegistry::insert_grants(const char* sql, std::span<const std::byte> owner, std::span<const Grant> grants) {
  if (grants.size() > grants_max)
    return Error{ErrorCode::USAGE, "more than " + std::to_string(grants_max) + " grants; grant a directory above them"};
  std::int64_t position = 0;
  for (const auto& grant : grants) {
    if (auto done = database_->query(sql).blob(owner).integer(position++).blob(to_string(grant)).run(); !done)
      return done;
  }
  return {};
}

Status SqliteRegistry::add_token(const TokenRecord& token) {
  auto transaction = SqliteTransaction::begin(*database_);
  if (!transaction) return transaction.error();
  auto inserted = database_->query("INSERT INTO tokens (id, secret_sha256, user, created, expires) VALUES (?,?,?,?,?)")
                      .blob(token.id.bytes)
                      .blob(token.secret_sha256)
                      .blob(token.user)
                      .integer(token.created.value)
                      .integer(token.expires.value)
                      .run();
  if (!inserted) return inserted;
  if (auto done = insert_grants("INSERT INTO token_grants VALUES (?,?,?)", token.id.bytes, token.grants); !done)
    return done;
  return transaction->commit();
}

Result<std::optional<TokenRecord>> SqliteRegistry::find_token(const TokenId& id) {
  TokenRecord token;
  {
    auto query =
        database_->query("SELECT secret_sha256, user, created, expires, used_by, revoked FROM tokens WHERE id = ?");
    query.blob(id.bytes);
    const auto row = query.step();
    if (!row) return row.error();
    if (!*row) return std::optional<TokenRecord>{};
    token.id = id;
    token.secret_sha256 = fixed<32>(query.bytes(0));
    token.user = query.text(1);
    token.created = {query.number(2)};
    token.expires = {query.number(3)};
    if (!query.is_null(4)) token.used_by = uuid_from_bytes(query.bytes(4));
    token.revoked = optional_time(query, 5);
  }
  auto grants_query = database_->query("SELECT text FROM token_grants WHERE token = ? ORDER BY position");
  grants_query.blob(id.bytes);
  auto grants = read_grants(std::move(grants_query));
  if (!grants) return grants.error();
  token.grants = *std::move(grants);
  return std::optional{std::move(token)};
}

Result<std::vector<TokenRecord>> SqliteRegistry::tokens() {
  std::vector<TokenId> ids;
  {
    auto query = database_->query("SELECT id FROM tokens ORDER BY created, id");
    for (;;) {
      const auto row = query.step();
      if (!row) return row.error();
      if (!*row) break;
      ids.push_back({fixed<8>(query.bytes(0))});
    }
  }
  std::vector<TokenRecord> all;
  for (const auto& id : ids) {
    auto token = find_token(id);
    if (!token) return token.error();
    if (*token) all.push_back(**std::move(token));
  }
  return all;
}

Status SqliteRegistry::revoke_token(const TokenId& id, UnixSeconds now) {
  auto updated = database_->query("UPDATE tokens SET revoked = coalesce(revoked, ?) WHERE id = ?")
                     .integer(now.value)
                     .blob(id.bytes)
                     .run();
  if (!updated) return updated;
  if (database_->changes() == 0)
    return not_found("there is no token " + to_string(id) + "; `penstockd tokens list` shows them");
  return {};
}

Result<TokenVerdict<TokenStanding>> SqliteRegistry::check_enrolment(const Enrolment& enrolment, UnixSeconds now) {
  using Verdict = TokenVerdict<TokenStanding>;
  auto found = find_token(enrolment.token);
  if (!found) return found.error();
  // An unknown id is compared too, with a digest that nothing has, so that both cases do the same work.
  const Sha256Digest expected = *found ? (*found)->secret_sha256 : Sha256Digest{};
  const bool right = crypto::constant_time_equal(digest::sha256(enrolment.secret).bytes, expected);
  if (!*found) return Verdict{TokenRefusal::unknown};
  if (!right) return Verdict{TokenRefusal::wrong_secret};

  TokenRecord& token = **found;
  if (token.revoked) return Verdict{TokenRefusal::revoked};
  const auto key_sha256 = digest::sha256(enrolment.public_key).bytes;
  if (token.used_by) {
    auto query = database_->query("SELECT key_sha256, revoked FROM clients WHERE uuid = ?");
    query.blob(token.used_by->bytes);
    const auto row = query.step();
    if (!row) return row.error();
    if (!*row || fixed<32>(query.bytes(0)) != key_sha256) return Verdict{TokenRefusal::used};
    if (!query.is_null(1)) return Verdict{TokenRefusal::revoked};
    return Verdict{TokenStanding{std::move(token.user), std::move(token.grants), token.used_by}};
  }
  if (now >= token.expires) return Verdict{TokenRefusal::expired};

  auto query = database_->query("SELECT 1 FROM clients WHERE key_sha256 = ?");
  query.blob(key_sha256);
  const auto taken = query.step();
  if (!taken) return taken.error();
  if (*taken) return Verdict{TokenRefusal::key_in_use};
  return Verdict{TokenStanding{std::move(token.user), std::move(token.grants), std::nullopt}};
}

Result<TokenVerdict<ClientRecord>> SqliteRegistry::enrol(const Enrolment& enrolment, const Uuid& fresh,
                                                         UnixSeconds now) {
  using Verdict = TokenVerdict<ClientRecord>;
  auto transaction = SqliteTransaction::begin(*database_);
  if (!transaction) return transaction.error();
  auto standing = check_enrolment(enrolment, now);
  if (!standing) return standing.error();
  if (!*standing) return Verdict{standing->error()};
  TokenStanding& token = **standing;

  if (token.registered) {
    auto client = find_client(*token.registered);
    if (!client) return client.error();
    PENSTOCK_CHECK(client->has_value());  // found by check_enrolment under the same lock
    return Verdict{**std::move(client)};
  }

  ClientRecord client{.uuid = fresh,
                      .user = std::move(token.user),
                      .name = enrolment.client_name,
                      .public_key = {enrolment.public_key.begin(), enrolment.public_key.end()},
                      .grants = std::move(token.grants),
                      .created = now,
                      .last_seen = std::nullopt,
                      .revoked = std::nullopt};
  auto inserted =
      database_->query("INSERT INTO clients (uuid, user, name, public_key, key_sha256, created) VALUES (?,?,?,?,?,?)")
          .blob(fresh.bytes)
          .blob(client.user)
          .blob(client.name)
          .blob(client.public_key)
          .blob(digest::sha256(client.public_key).bytes)
          .integer(now.value)
          .run();
  if (!inserted) return inserted.error();
  if (auto done = insert_grants("INSERT INTO client_grants VALUES (?,?,?)", fresh.bytes, client.grants); !done)
    return done.error();
  auto used = database_->query("UPDATE tokens SET used_by = ? WHERE id = ?")
                  .blob(fresh.bytes)
                  .blob(enrolment.token.bytes)
                  .run();
  if (!used) return used.error();
  if (auto done = count_change(); !done) return done.error();
  if (auto done = transaction->commit(); !done) return done.error();
  return Verdict{std::move(client)};
}

Result<std::optional<ClientRecord>> SqliteRegistry::find_client(const Uuid& uuid) {
  ClientRecord client;
  bool exists = false;
  {
    auto query =
        database_->query("SELECT user, name, public_key, created, last_seen, revoked FROM clients WHERE uuid = ?");
    query.blob(uuid.bytes);
    const auto row = query.step();
    if (!row) return row.error();
    exists = *row;
    if (exists) {
      client.uuid = uuid;
      client.user = query.text(0);
      client.name = query.text(1);
      client.public_key = query.bytes(2);
      client.created = {query.number(3)};
      client.last_seen = optional_time(query, 4);
      client.revoked = optional_time(query, 5);
    }
  }
  auto grants_query = database_->query("SELECT text FROM client_grants WHERE client = ? ORDER BY position");
  grants_query.blob(uuid.bytes);
  auto grants = read_grants(std::move(grants_query));
  if (!grants) return grants.error();
  if (!exists) return std::optional<ClientRecord>{};
  client.grants = *std::move(grants);
  return std::optional{std::move(client)};
}

Result<std::vector<ClientRecord>> SqliteRegistry::clients() {
  std::vector<Uuid> uuids;
  {
    auto query = database_->query("SELECT uuid FROM clients ORDER BY created, uuid");
    for (;;) {
      const auto row = query.step();
      if (!row) return row.error();
      if (!*row) break;
      uuids.push_back({fixed<16>(query.bytes(0))});
    }
  }
  std::vector<ClientRecord> all;
  for (const auto& uuid : uuids) {
    auto client = find_client(uuid);
    if (!client) return client.error();
    if (*client) all.push_back(**std::move(client));
  }
  return all;
}

Error no_such_client(const Uuid& uuid) {
  return not_found("no client " + to_string(uuid) + " is registered; `penstockd clients list` shows them");
}

Status SqliteRegistry::set_grants(const Uuid& uuid, std::span<const Grant> grants) {
  auto transaction = SqliteTransaction::begin(*database_);
  if (!transaction) return transaction.error();
  auto client = find_client(uuid);
  if (!client) return client.error();
  if (!*client) return no_such_client(uuid);
  if (auto done = database_->query("DELETE FROM client_grants WHERE client = ?").blob(uuid.bytes).run(); !done)
    return done;
  if (auto done = insert_grants("INSERT INTO client_grants VALUES (?,?,?)", uuid.bytes, grants); !done) return done;
  if (auto done = count_change(); !done) return done;
  return transaction->commit();
}

Status SqliteRegistry::revoke_client(const Uuid& uuid, UnixSeconds now) {
  auto transaction = SqliteTransaction::begin(*database_);
  if (!transaction) return transaction.error();
  auto updated = database_->query("UPDATE clients SET revoked = coalesce(revoked, ?) WHERE uuid = ?")
                     .integer(now.value)
                     .blob(uuid.bytes)
                     .run();
  if (!updated) return updated;
  if (database_->changes() == 0) return no_such_client(uuid);
  if (auto done = count_change(); !done) return done;
  return transaction->commit();
}

Status SqliteRegistry::mark_seen(const Uuid& uuid, UnixSeconds now) {
  auto updated =
      database_->query("UPDATE clients SET last_seen = ? WHERE uuid = ?").integer(now.value).blob(uuid.bytes).run();
  if (updated && database_->changes() == 0) return no_such_client(uuid);
  return updated;
}

Result<std::uint64_t> SqliteRegistry::change_counter() {
  auto query = database_->query("SELECT counter FROM changes");
  const auto row = query.step();
  if (!row) return row.error();
  return *row ? static_cast<std::uint64_t>(query.number(0)) : std::uint64_t{0};
}

Status SqliteRegistry::log_transfer_started(const TransferRecord& row) {
  // A transfer outlives its connection: re-attached, it is the same row, running again.
  return database_
      ->query(
          "INSERT INTO transfers (id, client, direction, path, bytes, files, started, outcome) "
          "VALUES (?,?,?,?,?,?,?,x'') ON CONFLICT (id) DO UPDATE SET ended = NULL, outcome = x''")
      .blob(row.id)
      .blob(row.client.bytes)
      .integer(static_cast<std::int64_t>(row.direction))
      .blob(row.path)
      .integer(as_integer(row.bytes))
      .integer(as_integer(row.files))
      .integer(row.started.value)
      .run();
}

Status SqliteRegistry::log_transfer_ended(const TransferRecord& row) {
  auto query = database_->query("UPDATE transfers SET bytes = ?, files = ?, ended = ?, outcome = ? WHERE id = ?");
  query.integer(as_integer(row.bytes)).integer(as_integer(row.files));
  if (row.ended) {
    query.integer(row.ended->value);
  } else {
    query.null();
  }
  auto updated = query.blob(row.outcome).blob(row.id).run();
  if (updated && database_->changes() == 0) return not_found("the log has no transfer " + bytes::to_hex(row.id));
  return updated;
}

Result<std::optional<Uuid>> SqliteRegistry::find_transfer_client(const std::array<std::byte, 16>& id) {
  auto query = database_->query("SELECT client FROM transfers WHERE id = ?");
  query.blob(id);
  const auto row = query.step();
  if (!row) return row.error();
  if (!*row) return std::optional<Uuid>{};
  return std::optional{Uuid{fixed<16>(query.bytes(0))}};
}

Result<std::vector<TransferRecord>> SqliteRegistry::recent_transfers(std::size_t limit) {
  auto query = database_->query(
      "SELECT id, client, direction, path, bytes, files, started, ended, outcome FROM transfers "
      "ORDER BY started DESC, id LIMIT ?");
  query.integer(as_integer(limit));
  std::vector<TransferRecord> all;
  for (;;) {
    const auto row = query.step();
    if (!row) return row.error();
    if (!*row) return all;
    all.push_back({.id = fixed<16>(query.bytes(0)),
                   .client = {fixed<16>(query.bytes(1))},
                   .direction = query.number(2) == 0 ? TransferDirection::push : TransferDirection::pull,
                   .path = query.text(3),
                   .bytes = static_cast<std::uint64_t>(query.number(4)),
                   .files = static_cast<std::uint64_t>(query.number(5)),
                   .started = {query.number(6)},
                   .ended = optional_time(query, 7),
                   .outcome = query.text(8)});
  }
}

}  // namespace

Result<std::unique_ptr<Registry>> open_sqlite_registry(const std::filesystem::path& state_directory) {
  const auto file = state_directory / "registry.db";
  const auto held = lock_opening(state_directory);
  if (!held) return held.error();
  if (std::error_code ignored; !std::filesystem::exists(file, ignored)) {
    if (auto made = create_or_open(state_directory, file); !made) return made.error();
  }
  auto database = SqliteDatabase::open(file);
  if (!database) return database.error();
  auto registry = std::make_unique<SqliteRegistry>(*std::move(database));
  if (auto prepared = registry->prepare_schema(); !prepared) return prepared.error();
  return std::unique_ptr<Registry>{std::move(registry)};
}

}  // namespace penstock::control
