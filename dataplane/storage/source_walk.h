#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/path/beneath.h"
#include "common/path/safe_path.h"
#include "common/result.h"
#include "common/unique_fd.h"
#include "dataplane/storage/posix_source.h"

namespace penstock::storage {

/// The roots of a source and the one way beneath each: no link is followed, but with Links::follow those that stay
/// beneath the root's base. Threads: any (nothing changes after construction).
class SourceBase {
 public:
  SourceBase(std::vector<SourceRoot> roots, Links links);

  [[nodiscard]] std::size_t roots() const { return roots_.size(); }
  [[nodiscard]] const SourceRoot& root(std::size_t index) const { return roots_[index]; }
  /// What a message calls the entry.
  [[nodiscard]] std::string display(std::uint32_t root, const std::string& below) const;

  [[nodiscard]] Result<UniqueFd> open_directory(std::uint32_t root, const path::SafePath& below,
                                                path::DirectoryAccess access) const;
  /// A regular file in an open directory of the root.
  [[nodiscard]] Result<UniqueFd> open_file(std::uint32_t root, const UniqueFd& directory,
                                           const path::Component& name) const;
  /// The root itself, when it is a file.
  [[nodiscard]] Result<UniqueFd> open_root_file(std::uint32_t root) const;
  /// lstat, or with Links::follow stat of what the link leads to.
  [[nodiscard]] Result<struct stat> examine(const UniqueFd& directory, const path::Component& name) const;

 private:
  std::vector<SourceRoot> roots_;
  Links links_;
};

/// Lists a source in manifest order, directory by directory: each is read whole, sorted, and left behind in the stack
/// as names only. Memory: the names of the directories on the way to the current one. Threads: one owner.
class SourceWalk {
 public:
  /// `base` is borrowed.
  SourceWalk(const SourceBase& base, const PosixSourceConfig& config);
  [[nodiscard]] Result<WalkBatch> next(std::size_t entries_max);

 private:
  struct Level {
    std::string path;  // below the root
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::vector<std::string> names;  // descending: the next is at the back
    UniqueFd fd;                     // open while this is the deepest level
  };
  [[nodiscard]] Status begin_root(WalkBatch& batch);
  void visit(const UniqueFd& directory, const std::string& name, WalkBatch& batch);
  void enter(const std::string& path, UniqueFd fd, const struct stat& status, WalkBatch& batch);
  void warn(WalkBatch& batch, Error error, const std::string& path) const;
  [[nodiscard]] std::optional<ManifestEntry> describe_file(const UniqueFd& fd, const std::string& path,
                                                           WalkBatch& batch) const;

  const SourceBase& base_;
  PosixSourceConfig config_;
  std::uint32_t root_ = 0;
  bool in_root_ = false;
  std::vector<Level> levels_;
};

/// The holes of an open file, of at least `size_min` bytes and at most holes_max (the largest), ascending. A file
/// system that can not tell has none. Source: lseek(2), SEEK_HOLE.
[[nodiscard]] std::vector<Hole> find_holes(int fd, const struct stat& status, std::uint64_t size_min);

}  // namespace penstock::storage
