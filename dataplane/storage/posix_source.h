#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/path/follow.h"
#include "common/path/safe_path.h"
#include "common/unique_fd.h"
#include "dataplane/storage/source.h"

namespace penstock::storage {

enum class Links : std::uint8_t { keep = 1, follow = 2, skip = 3 };  // as transfer.proto

/// One root to send. One that is itself a link is followed: its name is the user's own word.
struct SourceRoot {
  UniqueFd base;          // a directory that holds it; on a daemon the one that is served
  path::SafePath path;    // below base; the root path: `base` itself is the root
  bool contents = false;  // SRC/. : must be a directory
  /// On a daemon: nothing outside of these is sent, whatever links say. nullopt: the user's own machine, where links
  /// are followed anywhere.
  std::optional<path::FollowBounds> bounds;
  std::string display;            // as the user wrote it, for messages
  std::optional<Error> unusable;  // why it can not be sent, known already; told when the walk begins
};

/// Opens a local SRC of `push`: an absolute or relative path of our own, trusted. A trailing slash means nothing, a
/// trailing `/.` the contents. NOT_FOUND and the like name the word as written.
[[nodiscard]] Result<SourceRoot> open_local_root(const std::string& source);

/// Opens all SRC of a command. One that is missing is an error, and so is one alone that can not be opened; among
/// several such a one is `unusable`.
[[nodiscard]] Result<std::vector<SourceRoot>> open_local_roots(const std::vector<std::string>& sources);

struct PosixSourceConfig {
  Links links = Links::keep;
  std::uint64_t hole_size_min = 64 * 1024;  // smaller holes are sent as zeros: an entry for each costs more
  std::size_t directory_cache = 64;         // open descriptors of directories, least recently used first out
};

/// Files of a POSIX file system. Opens O_NOFOLLOW|O_NONBLOCK and only regular files; our own partials are invisible.
/// Links are followed in two cases alone: a root that is one, and all with `Links::follow`. With bounds each is
/// followed by hand to a path without links (common/path/follow.h), which the bounds judge and which is opened without
/// following any; what leads out of them is a warning. Without bounds the kernel follows, as cp -L does. A link back to
/// a directory above itself is a warning. Of several roots those that can not be sent are a warning each; a missing
/// one, and none that can be sent, end the walk before its first entry. Memory: the names of the directories open along
/// the path, sorted; a single directory of a million names costs its names once.
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
