#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "common/result.h"
#include "common/units.h"
#include "dataplane/storage/file_calls.h"
#include "dataplane/storage/manifest_entry.h"
#include "dataplane/storage/spill_file.h"

namespace penstock::storage {

/// Where a byte of transfer space belongs.
struct FilePlace {
  std::uint64_t index = 0;  // of the regular file's entry
  std::uint64_t file_offset = 0;
  std::uint64_t bytes_left = 0;  // to the end of the file, at least 1
};

/// All entries of one transfer by index, and the transfer space in which its files lie end to end in this order, holes
/// included. Entries are kept in encoded pages; all but the last few live in a spill file, so memory is 48 bytes for
/// 256 entries plus a dozen decoded pages, whatever the manifest's length. Threads: any (one mutex; a page that is not
/// cached is read from the file under it).
class ManifestStore {
 public:
  /// `spill_directory` is borrowed for the store's life; -1: keep everything in memory (tests, tiny manifests).
  explicit ManifestStore(int spill_directory, FileCalls& calls = FileCalls::kernel());
  ~ManifestStore();

  /// Appends an entry that a validator has accepted. IO_ERROR, NO_SPACE or QUOTA_EXCEEDED when the spill file can not
  /// grow (state_space.h).
  [[nodiscard]] Status append(const ManifestEntry& entry);
  [[nodiscard]] std::uint64_t entries() const;
  /// Sum of all sizes: the end of transfer space.
  [[nodiscard]] std::uint64_t bytes() const;

  /// The entry stays valid for as long as the pointer is held. Requires: index < entries().
  [[nodiscard]] Result<std::shared_ptr<const ManifestEntry>> get(std::uint64_t index) const;
  /// Where the entry's bytes begin in transfer space (for directories and links: where the next file's would).
  [[nodiscard]] Result<std::uint64_t> offset_of(std::uint64_t index) const;
  /// Requires: at < bytes().
  [[nodiscard]] Result<FilePlace> locate(std::uint64_t at) const;

 private:
  struct Page;
  struct PageInfo;
  [[nodiscard]] Result<std::shared_ptr<const Page>> page_of_locked(std::size_t number) const;
  [[nodiscard]] Status close_page_locked();

  int spill_directory_;
  mutable std::mutex mutex_;
  SpillFile spill_;
  std::vector<PageInfo> infos_;
  std::shared_ptr<Page> last_;                                                    // still growing
  mutable std::list<std::pair<std::size_t, std::shared_ptr<const Page>>> cache_;  // most recently used first
  std::uint64_t entries_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace penstock::storage
