#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/path/beneath.h"
#include "common/path/safe_path.h"
#include "common/result.h"
#include "common/unique_fd.h"
#include "dataplane/storage/file_calls.h"

namespace penstock::storage {

/// A directory of the target, held by descriptor.
struct TargetDirectory {
  UniqueFd fd;
  bool readable = true;  // false: a drop box, which lets us create but not list; `fd` is O_PATH then, and can not sync
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  path::SafePath path;
};
using HeldDirectory = std::shared_ptr<const TargetDirectory>;

/// What must be synced before new names may count on.
struct UnsyncedDirectories {
  std::vector<HeldDirectory> directories;                     // fsync each ...
  std::vector<std::shared_ptr<const UniqueFd>> file_systems;  // ... or syncfs through one file of each file system
};
/// futimens and fchmod, for drop boxes too. 0 or errno.
[[nodiscard]] int set_directory_metadata(const TargetDirectory& directory, const timespec& mtime, mode_t mode);
/// 0, or -errno of the first call that failed. Threads: any.
[[nodiscard]] int sync_directories(const UnsyncedDirectories& unsynced, FileCalls& calls);

/// The directories beneath one base, opened by checked path, following no link, and cached.
/// Bound: `descriptors_max` descriptors in the cache. Threads: one owner.
class TargetTree {
 public:
  explicit TargetTree(UniqueFd base, std::size_t descriptors_max = 64);

  [[nodiscard]] int base() const { return base_.get(); }
  /// From the cache, or resolved. NOT_FOUND, PATH_REFUSED and so on, as open_directory_beneath.
  [[nodiscard]] Result<HeldDirectory> open(const path::SafePath& directory);
  /// Until a directory of the manifest gets its own mode at the end, nobody else looks into it.
  static constexpr mode_t unfinished_mode = 0700;
  /// Missing parents of DEST get no mode later: they are made as mkdir makes them, less the umask.
  static constexpr mode_t parent_mode = 0777;
  /// As open; what is missing is created with that mode.
  [[nodiscard]] Result<HeldDirectory> make(const path::SafePath& directory, mode_t mode = unfinished_mode);
  /// Resolved from the base once more, whatever the cache says: for the check before publishing.
  [[nodiscard]] Result<HeldDirectory> resolve_again(const path::SafePath& directory);

  /// `directory` got or lost a name.
  void note_changed(const HeldDirectory& directory);
  /// All that changed since the last call. Many directories become one syncfs for each file system.
  [[nodiscard]] UnsyncedDirectories take_unsynced();
  /// A descriptor for syncfs on each file system seen so far.
  [[nodiscard]] std::vector<std::shared_ptr<const UniqueFd>> file_systems() const;

 private:
  [[nodiscard]] Result<HeldDirectory> hold(UniqueFd fd, const path::SafePath& directory, path::DirectoryAccess access);
  [[nodiscard]] Result<HeldDirectory> cached(Result<HeldDirectory> opened);

  UniqueFd base_;
  std::size_t descriptors_max_;
  std::list<HeldDirectory> recent_;  // most recently used first
  std::unordered_map<std::string, std::list<HeldDirectory>::iterator> by_path_;
  std::map<std::uint64_t, std::shared_ptr<const UniqueFd>> file_systems_;  // by device
  std::map<std::string, HeldDirectory> changed_;
  bool many_changed_ = false;
};

}  // namespace penstock::storage
