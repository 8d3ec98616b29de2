#include "control/registry/sqlite_database.h"

#include <sqlite3.h>

#include <utility>

#include "common/check.h"

namespace penstock::control {

namespace {
// SQLITE_TRANSIENT is a cast of -1 that our warnings refuse; this says the same: copy the bytes.
const sqlite3_destructor_type copy_bytes = reinterpret_cast<sqlite3_destructor_type>(std::intptr_t{-1});
constexpr int busy_timeout_ms = 5000;
}  // namespace

SqliteQuery::SqliteQuery(SqliteQuery&& other) noexcept
    : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)), parameter_(other.parameter_) {}

SqliteQuery::~SqliteQuery() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void SqliteQuery::check_bound(int code) {
  // Only a wrong parameter count or an absurd size get here: ours, not the machine's.
  PENSTOCK_CHECK(code == SQLITE_OK);
}

SqliteQuery& SqliteQuery::blob(std::span<const std::byte> value) {
  ++parameter_;
  // A null pointer would bind NULL; an empty blob is not that.
  const void* data = value.empty() ? static_cast<const void*>("") : value.data();
  if (statement_ != nullptr) check_bound(sqlite3_bind_blob64(statement_, parameter_, data, value.size(), copy_bytes));
  return *this;
}

SqliteQuery& SqliteQuery::blob(std::string_view value) {
  return blob(std::as_bytes(std::span{value.data(), value.size()}));
}

SqliteQuery& SqliteQuery::integer(std::int64_t value) {
  ++parameter_;
  if (statement_ != nullptr) check_bound(sqlite3_bind_int64(statement_, parameter_, value));
  return *this;
}

SqliteQuery& SqliteQuery::null() {
  ++parameter_;
  if (statement_ != nullptr) check_bound(sqlite3_bind_null(statement_, parameter_));
  return *this;
}

Result<bool> SqliteQuery::step() {
  if (statement_ == nullptr) return database_->error(SQLITE_ERROR);
  switch (const int code = sqlite3_step(statement_); code) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return database_->error(code);
  }
}

Status SqliteQuery::run() {
  for (;;) {
    const auto row = step();
    if (!row) return row.error();
    if (!*row) return {};
  }
}

std::vector<std::byte> SqliteQuery::bytes(int column) const {
  const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(statement_, column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return size == 0 ? std::vector<std::byte>{} : std::vector<std::byte>{data, data + size};
}

std::string SqliteQuery::text(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return size == 0 ? std::string{} : std::string{data, size};
}

std::int64_t SqliteQuery::number(int column) const { return sqlite3_column_int64(statement_, column); }

std::optional<std::int64_t> SqliteQuery::optional_number(int column) const {
  if (is_null(column)) return std::nullopt;
  return number(column);
}

bool SqliteQuery::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

Result<std::unique_ptr<SqliteDatabase>> SqliteDatabase::open(const std::filesystem::path& file) {
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(file.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  std::unique_ptr<SqliteDatabase> database{new SqliteDatabase{handle, file}};
  if (code != SQLITE_OK) return database->error(code);
  sqlite3_extended_result_codes(handle, 0);
  sqlite3_busy_timeout(handle, busy_timeout_ms);
  if (auto set = database->execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"); !set)
    return set.error();
  return database;
}

SqliteDatabase::~SqliteDatabase() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

SqliteQuery SqliteDatabase::query(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  return {*this, statement};
}

Status SqliteDatabase::execute(const char* sql) {
  const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code);
  return {};
}

int SqliteDatabase::changes() const { return sqlite3_changes(handle_); }

Error SqliteDatabase::error(int code) const {
  const std::string reason = handle_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(handle_);
  const std::string name = file_.string();
  switch (code) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return {ErrorCode::CONFIG_INVALID, name + " is not a usable registry: " + reason + "; restore it from a backup",
              name};
    case SQLITE_FULL:
      return {ErrorCode::NO_SPACE, "cannot write " + name + ": " + reason, name};
    default:
      return {ErrorCode::IO_ERROR, "cannot use the registry " + name + ": " + reason, name};
  }
}

Result<SqliteTransaction> SqliteTransaction::begin(SqliteDatabase& database) {
  if (auto begun = database.query("BEGIN IMMEDIATE").run(); !begun) return begun.error();
  return SqliteTransaction{database};
}

SqliteTransaction::SqliteTransaction(SqliteTransaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)) {}

SqliteTransaction::~SqliteTransaction() {
  // SQLite may have rolled back by itself (disk full); a second rollback then fails, which is as good.
  if (database_ != nullptr) (void)database_->query("ROLLBACK").run();
}

Status SqliteTransaction::commit() {
  PENSTOCK_CHECK(database_ != nullptr);
  auto committed = database_->query("COMMIT").run();
  if (committed) database_ = nullptr;
  return committed;
}

}  // namespace penstock::control
