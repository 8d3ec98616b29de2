#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/result.h"
#include "dataplane/storage/manifest_entry.h"

namespace penstock::storage {

/// Something that was left out of the manifest; the others complete (PARTIAL).
using SourceWarning = Error;

/// One step of a walk.
struct WalkBatch {
  std::vector<ManifestEntry> entries;
  std::vector<SourceWarning> warnings;
  bool end = false;
};

/// An open source file. Threads: one at a time.
class SourceFile {
 public:
  virtual ~SourceFile() = default;
  /// Fills `into` from `offset`; fewer bytes only at the end of the file.
  [[nodiscard]] virtual Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) = 0;
  /// What the file is now.
  [[nodiscard]] virtual Result<FileIdentity> identity() = 0;
};

/// Where a transfer's files come from. A store of another kind (object store, pipe) implements this.
/// Threads: walk on one strand, open on another; each call of one kind at a time. May block.
class Source {
 public:
  virtual ~Source() = default;
  /// The next entries in manifest order, about `entries_max`. An error ends the walk: a root itself is missing or
  /// refused. Everything else that can not be sent is a warning.
  [[nodiscard]] virtual Result<WalkBatch> walk(std::size_t entries_max) = 0;
  /// Opens a regular file of the manifest for reading. NOT_FOUND when it vanished, SPECIAL_FILE or PATH_REFUSED when
  /// something else took its place, PERMISSION_DENIED, SOURCE_CHANGED when it is another file than the entry says.
  [[nodiscard]] virtual Result<std::unique_ptr<SourceFile>> open(const ManifestEntry& entry) = 0;
  /// The path to name an entry by in errors, as the user wrote its root. Raw bytes.
  [[nodiscard]] virtual std::string shown_path(const ManifestEntry& entry) const { return entry.path; }
};

}  // namespace penstock::storage
