#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace penstock::control {

/// One run of a prepared statement: bind, step until false, read columns. Resets it at the end of its scope.
/// Must not outlive its Database.
class SqliteQuery {
 public:
  SqliteQuery(SqliteQuery&& other) noexcept;
  SqliteQuery& operator=(SqliteQuery&&) = delete;
  ~SqliteQuery();

  // Parameters in their order. The bytes are copied.
  SqliteQuery& blob(std::span<const std::byte> value);
  SqliteQuery& blob(std::string_view value);
  SqliteQuery& integer(std::int64_t value);
  SqliteQuery& null();

  /// True: a row is there. False: done.
  Result<bool> step();
  /// For statements without rows.
  Status run();

  // Columns of the row, from 0.
  [[nodiscard]] std::vector<std::byte> bytes(int column) const;
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] std::int64_t number(int column) const;
  [[nodiscard]] std::optional<std::int64_t> optional_number(int column) const;
  [[nodiscard]] bool is_null(int column) const;

 private:
  friend class SqliteDatabase;
  SqliteQuery(class SqliteDatabase& database, sqlite3_stmt* statement) : database_(&database), statement_(statement) {}
  void check_bound(int code);

  SqliteDatabase* database_;
  sqlite3_stmt* statement_;  // null: it could not be prepared; step() tells
  int parameter_ = 0;
};

/// One connection to one SQLite file, with its prepared statements. Threads: one owner.
/// Errors name the file: CONFIG_INVALID when it is no database or damaged, NO_SPACE, else IO_ERROR.
class SqliteDatabase {
 public:
  /// Opens an existing or empty file: WAL, synchronous=FULL (a registration that was confirmed survives a power loss),
  /// foreign keys on, 5 s of patience with other processes.
  static Result<std::unique_ptr<SqliteDatabase>> open(const std::filesystem::path& file);
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;
  ~SqliteDatabase();

  /// `sql` is a literal: its address is the key under which the prepared statement is kept.
  SqliteQuery query(const char* sql);
  /// Several statements without parameters or rows.
  Status execute(const char* sql);
  /// Rows changed by the last statement.
  [[nodiscard]] int changes() const;
  [[nodiscard]] Error error(int code) const;

 private:
  SqliteDatabase(sqlite3* handle, std::filesystem::path file) : handle_(handle), file_(std::move(file)) {}
  sqlite3* handle_;
  std::filesystem::path file_;
  std::map<const void*, sqlite3_stmt*> statements_;
};

/// BEGIN IMMEDIATE ... COMMIT; rolled back when it goes out of scope uncommitted. Immediate, so that two writers wait
/// for each other at the start instead of failing in the middle.
class SqliteTransaction {
 public:
  static Result<SqliteTransaction> begin(SqliteDatabase& database);
  SqliteTransaction(SqliteTransaction&& other) noexcept;
  SqliteTransaction& operator=(SqliteTransaction&&) = delete;
  ~SqliteTransaction();
  Status commit();

 private:
  explicit SqliteTransaction(SqliteDatabase& database) : database_(&database) {}
  SqliteDatabase* database_;  // null once committed or moved from
};

}  // namespace penstock::control
