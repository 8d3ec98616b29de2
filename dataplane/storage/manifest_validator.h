#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "dataplane/storage/manifest_entry.h"

namespace penstock::storage {

/// Judges a manifest entry by entry while it streams in: a peer wrote it. Per root: the root itself first (empty path),
/// then strictly ascending component-wise, each entry's parent being a directory seen before. So duplicates, a file
/// used as a directory and anything beneath a link are refused. Roots ascend and number `roots`; one is left out only
/// where the source has said that it left out something. Also refused: bad components and reserved names (PATH_REFUSED,
/// NAME_TOO_LONG), sizes or a sum past 2^48 - 1, links without or with an over-long target, holes out of order or
/// outside the file, and fields that the type has not. Mode bits outside 0777 are the sink's to mask. Memory: the open
/// directories' paths, O(depth). Source: PROTOCOL section 1, "Manifest". Threads: one owner.
class ManifestValidator {
 public:
  explicit ManifestValidator(std::uint32_t roots);

  /// PATH_REFUSED or NAME_TOO_LONG naming the entry; after an error the manifest is not to be trusted any further.
  [[nodiscard]] Status accept(const ManifestEntry& entry);
  /// The source has told that there is something it can not send: it may have been a root.
  void allow_missing_roots() { roots_may_miss_ = true; }
  /// The manifest says that it is complete: every root must have come, and the counts must agree.
  [[nodiscard]] Status finish(std::uint64_t entries, std::uint64_t bytes) const;

  [[nodiscard]] std::uint64_t entries() const { return entries_; }
  /// Sum of the sizes: the end of transfer space so far.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  [[nodiscard]] Status check_place(const ManifestEntry& entry) const;

  std::uint32_t roots_;
  std::uint32_t roots_seen_ = 0;
  bool roots_may_miss_ = false;
  std::uint64_t entries_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint32_t root_ = 0;                     // of the last entry, if any
  std::string last_path_;                      // of the last entry
  std::vector<std::size_t> open_directories_;  // lengths of last_path_'s prefixes that are directories, ascending
};

}  // namespace penstock::storage
