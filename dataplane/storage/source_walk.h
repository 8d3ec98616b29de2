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

/// A directory or file of a source, opened. `place` is its path beneath the root's base, without a link in it; known
/// where the root has bounds.
struct OpenedSource {
  UniqueFd fd;
  path::SafePath place;
};

/// What a name in a directory is: itself, or with Links::follow what it leads to.
struct SourceChild {
  struct stat status {};
  bool followed = false;
  path::SafePath place;  // as OpenedSource
};

/// The roots of a source and the one way beneath each: no link is followed but as PosixSource says.
/// Threads: settle_root is the walk's, and comes before all else about that root; the rest any.
class SourceBase {
 public:
  SourceBase(std::vector<SourceRoot> roots, Links links);

  [[nodiscard]] std::size_t roots() const { return roots_.size(); }
  [[nodiscard]] const SourceRoot& root(std::size_t index) const { return roots_[index].given; }
  /// What a message calls the entry.
  [[nodiscard]] std::string display(std::uint32_t root, const std::string& below) const;

  /// Follows the root, should it be a link, and says what it is. Again for the same root: looks anew.
  [[nodiscard]] Result<struct stat> settle_root(std::uint32_t root);
  /// The root itself, when it is a file.
  [[nodiscard]] Result<UniqueFd> open_root_file(std::uint32_t root) const;
  [[nodiscard]] Result<OpenedSource> open_directory(std::uint32_t root, const path::SafePath& below,
                                                    path::DirectoryAccess access) const;

  // Names in a directory that is open.
  [[nodiscard]] Result<SourceChild> examine(std::uint32_t root, const OpenedSource& directory,
                                            const path::Component& name) const;
  /// What `examine` has found to be a directory, for reading.
  [[nodiscard]] Result<UniqueFd> enter(std::uint32_t root, const OpenedSource& directory, const path::Component& name,
                                       const SourceChild& child) const;
  /// A regular file, followed to where that is asked for.
  [[nodiscard]] Result<UniqueFd> open_file(std::uint32_t root, const OpenedSource& directory,
                                           const path::Component& name) const;

 private:
  struct Root {
    SourceRoot given;
    path::SafePath place;  // given.path, or where that leads
    bool judged = false;   // the bounds judge each name: something was or may be followed
  };
  [[nodiscard]] Status check_covered(std::uint32_t root, const path::SafePath& place) const;

  std::vector<Root> roots_;
  Links links_;
};

/// Lists a source in manifest order, directory by directory: each is read whole, sorted, and left behind in the stack
/// as names only. Memory: the names of the directories on the way to the current one. Threads: one owner.
class SourceWalk {
 public:
  /// `base` is borrowed.
  SourceWalk(SourceBase& base, const PosixSourceConfig& config);
  [[nodiscard]] Result<WalkBatch> next(std::size_t entries_max);

 private:
  struct Level {
    std::string path;  // below the root
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::vector<std::string> names;  // descending: the next is at the back
    OpenedSource opened;             // its descriptor is open while this is the deepest level
  };
  struct Root {
    OpenedSource opened;
    bool is_directory = false;
  };
  [[nodiscard]] Result<Root> open_root(std::uint32_t root);
  /// Before the first entry: what ends the walk, if anything does.
  [[nodiscard]] Status look_at_roots();
  void begin_root(WalkBatch& batch);
  void visit(const OpenedSource& directory, const std::string& name, WalkBatch& batch);
  void visit_directory(const OpenedSource& directory, const path::Component& name, const SourceChild& child,
                       const std::string& path, WalkBatch& batch);
  void enter(const std::string& path, OpenedSource opened, const struct stat& status, WalkBatch& batch);
  void warn(WalkBatch& batch, Error error, const std::string& path) const;
  [[nodiscard]] std::optional<ManifestEntry> describe_file(const UniqueFd& fd, const std::string& path,
                                                           WalkBatch& batch) const;

  SourceBase& base_;
  PosixSourceConfig config_;
  bool begun_ = false;
  std::uint32_t root_ = 0;
  bool in_root_ = false;
  bool sends_ = false;            // a root at least
  std::optional<Error> refused_;  // the last root that could not be sent
  std::vector<Level> levels_;
};

/// The holes of an open file, of at least `size_min` bytes and at most holes_max (the largest), ascending. A file
/// system that can not tell has none. Source: lseek(2), SEEK_HOLE.
[[nodiscard]] std::vector<Hole> find_holes(int fd, const struct stat& status, std::uint64_t size_min);

}  // namespace penstock::storage
