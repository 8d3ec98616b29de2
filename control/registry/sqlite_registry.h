#pragma once

#include <filesystem>
#include <memory>

#include "control/registry/registry.h"

namespace penstock::control {

/// Opens, or creates, `state_directory`/registry.db: WAL, synchronous=FULL, 5 s busy time-out, schema version checked.
/// `penstockd token` runs beside `serve` on the same file. Run as root on somebody else's state directory it creates
/// the files as the directory's owner, so that the daemon can open them afterwards.
/// Errors: CONFIG_INVALID naming the file when it is not a registry, or one of a newer penstock; else IO_ERROR.
Result<std::unique_ptr<Registry>> open_sqlite_registry(const std::filesystem::path& state_directory);

}  // namespace penstock::control
