#pragma once

#include <filesystem>

#include "common/result.h"
#include "common/unique_fd.h"

namespace penstock::control {

// The files of a registry, before SQLite sees them. Errors: those of the system, naming the file.

/// Makes `file` in `directory`, 0600 and owned as the directory is, or opens the one that is there as it is. SQLite
/// makes its -wal and -shm files with the database's mode and, as root, its owner: so the database itself is made here.
[[nodiscard]] Result<UniqueFd> create_or_open(const std::filesystem::path& directory,
                                              const std::filesystem::path& file);

/// Waits for `directory`/registry.lock and holds it for as long as the descriptor is open: while a registry is opened.
/// Switching a new database to WAL takes a lock that SQLite does not wait for, so two processes that are the first at
/// once would fail with "database is locked". A file of its own, because closing a second descriptor of the database
/// would drop the POSIX locks of every connection in this process.
[[nodiscard]] Result<UniqueFd> lock_opening(const std::filesystem::path& directory);

}  // namespace penstock::control
