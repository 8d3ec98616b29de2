#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "common/path/safe_path.h"
#include "common/result.h"
#include "common/unique_fd.h"

namespace penstock::path {

/// How a directory is opened. `search`: O_PATH, enough for at-calls and needs no read permission (a drop box);
/// `read`: O_RDONLY, for listing and fsync.
enum class DirectoryAccess : std::uint8_t { search, read };

/// `automatic` uses openat2(2) and falls back to `walk` where the kernel or a sandbox has it not (ENOSYS, EPERM).
enum class Resolver : std::uint8_t { automatic, openat2, walk };

/// Opens the directory `below` beneath `root_fd`, following no symbolic link anywhere and never leaving the root.
/// Longer paths than PATH_MAX are resolved in pieces. A link on the way is PATH_REFUSED; otherwise error_from_errno,
/// with `path` = below.text(). The root path opens the root again. Source: DESIGN section 3, "Paths"; openat2(2)
/// with RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS.
[[nodiscard]] Result<UniqueFd> open_directory_beneath(int root_fd, const SafePath& below, DirectoryAccess access,
                                                      Resolver resolver = Resolver::automatic);

/// Creates what is missing of `below` (mode, less the umask), then opens it; existing directories stay as they are.
/// `on_created`, when given, is told of each new directory's path. Not atomic: what was created before an error stays.
class DirectoryCreationObserver {
 public:
  virtual ~DirectoryCreationObserver() = default;
  /// `parent_fd` is borrowed for the call: the place to fsync.
  virtual void on_directory_created(const SafePath& created, int parent_fd) = 0;
};
[[nodiscard]] Result<UniqueFd> make_directories_beneath(int root_fd, const SafePath& below, mode_t mode,
                                                        DirectoryAccess access,
                                                        DirectoryCreationObserver* on_created = nullptr,
                                                        Resolver resolver = Resolver::automatic);

/// Opens the directory at a path of our own (a root, the state directory): links are followed, since the operator
/// wrote it.
[[nodiscard]] Result<UniqueFd> open_trusted_directory(const std::string& path,
                                                      DirectoryAccess access = DirectoryAccess::read);

/// Whether two descriptors are one directory (device and inode). False also when either can not be examined.
[[nodiscard]] bool same_file(int a, int b);

// One checked component each; no link in the last place is ever followed. Errors carry `path` = name.text(); callers
// that know more of the path put it there instead.

/// openat with O_NOFOLLOW | O_CLOEXEC added; a link in the place is PATH_REFUSED.
[[nodiscard]] Result<UniqueFd> open_at(int dir_fd, const Component& name, int flags, mode_t mode = 0);
/// A source file: O_RDONLY | O_NONBLOCK, then must be regular (SPECIAL_FILE, IS_A_DIRECTORY otherwise). Never blocks on
/// a FIFO and never follows a link.
[[nodiscard]] Result<UniqueFd> open_source_at(int dir_fd, const Component& name);
/// lstat.
[[nodiscard]] Result<struct stat> stat_at(int dir_fd, const Component& name);
[[nodiscard]] Status make_directory_at(int dir_fd, const Component& name, mode_t mode);
[[nodiscard]] Status unlink_at(int dir_fd, const Component& name);
[[nodiscard]] Status remove_directory_at(int dir_fd, const Component& name);
/// The target's bytes are data: kept as they are, any non-empty text without NUL.
[[nodiscard]] Status symlink_at(const std::string& target, int dir_fd, const Component& name);
[[nodiscard]] Result<std::string> read_link_at(int dir_fd, const Component& name);

enum class Replace : std::uint8_t {
  no,   // FILE_EXISTS without a race: renameat2(RENAME_NOREPLACE), or linkat + unlinkat where that is not supported
  yes,  // rename: a file or link in the place is replaced, not followed
};
struct Place {
  int dir_fd;  // borrowed
  const Component& name;
};
[[nodiscard]] Status rename_at(Place from, Place to, Replace replace);
/// What rename_at does for Replace::no where renameat2 can not: a file or link gets its second name, which fails on any
/// existing target, then loses the first. A crash between the two leaves both names on the one file.
[[nodiscard]] Status rename_by_link_at(Place from, Place to);

}  // namespace penstock::path
