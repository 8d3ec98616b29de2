#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/path/safe_path.h"
#include "common/unique_fd.h"
#include "dataplane/storage/source.h"

namespace penstock::storage {

enum class Links : std::uint8_t { keep = 1, follow = 2, skip = 3 };  // as transfer.proto

/// One root to send.
struct SourceRoot {
  UniqueFd base;             // the directory that holds it; on a daemon the grant's
  path::SafePath path;       // below base; the root path: `base` itself is the root
  bool contents = false;     // SRC/. : must be a directory
  bool follow_root = false;  // the root may itself be a link, and is followed: the client's push only
  std::string display;       // as the user wrote it, for messages
};

/// Opens a local SRC of `push`: an absolute or relative path of our own, trusted. A trailing slash means nothing, a
/// trailing `/.` the contents. NOT_FOUND and the like name the word as written.
[[nodiscard]] Result<SourceRoot> open_local_root(const std::string& source);

struct PosixSourceConfig {
  Links links = Links::keep;
  std::uint64_t hole_size_min = 64 * 1024;  // smaller holes are sent as zeros: an entry for each costs more
  std::size_t directory_cache = 64;         // open descriptors of directories, least recently used first out
};

/// Files of a POSIX file system. Never follows a link below a root unless `Links::follow`, and then only one that leads
/// to a regular file or directory beneath the same base (openat2 RESOLVE_BENEATH); opens O_NOFOLLOW|O_NONBLOCK and only
/// regular files. Our own partials are invisible. Directory loops made by followed links end with a warning.
/// Memory: the names of the directories open along the path, sorted; a single directory of a million names costs its
/// names once.
class PosixSource final : public Source {
 public:
  PosixSource(std::vector<SourceRoot> roots, const PosixSourceConfig& config);
  ~PosixSource() override;

  [[nodiscard]] Result<WalkBatch> walk(std::size_t entries_max) override;
  [[nodiscard]] Result<std::unique_ptr<SourceFile>> open(const ManifestEntry& entry) override;
  [[nodiscard]] std::string shown_path(const ManifestEntry& entry) const override;

 private:
  struct Walk;
  class DirectoryCache;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// The identity of a file with this status. Source: DESIGN section 3, "Identity".
[[nodiscard]] FileIdentity identity_of(const struct stat& status);

}  // namespace penstock::storage
