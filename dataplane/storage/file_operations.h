#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/digest/digest.h"
#include "common/path/safe_path.h"
#include "common/result.h"
#include "dataplane/storage/manifest_entry.h"

namespace penstock::storage {

/// One name, as ls and stat show it (files.proto, FileInfo).
struct FileInfo {
  std::string name;  // raw bytes; stat: the whole path as asked
  FileType type = FileType::regular;
  std::uint64_t size = 0;
  std::uint32_t mode = 0;  // 0777
  std::int64_t mtime_ns = 0;
  std::string link_target;
};
struct DirectoryPage {
  std::vector<FileInfo> entries;  // ascending by name
  bool more = false;
};

// The daemon's requests about files. Each resolves beneath `root_fd` (the grant's directory), follows no link, does not
// see our partials, and may block. Errors carry the path. Threads: any.

/// Names after `after` (empty: from the first), `entries_max` at most. The entry itself when `directory` is no
/// directory.
[[nodiscard]] Result<DirectoryPage> list_directory(int root_fd, const path::SafePath& directory,
                                                   const std::string& after, std::size_t entries_max);
[[nodiscard]] Result<FileInfo> stat_file(int root_fd, const path::SafePath& file);

enum class Parents : std::uint8_t { must_exist, create };  // create: an existing directory is no error (mkdir -p)
[[nodiscard]] Status make_directory(int root_fd, const path::SafePath& directory, Parents parents);
/// Never replaces (FILE_EXISTS), never crosses file systems (the error says so). Both ends have roots of their own,
/// since they may be in different grants.
struct RenameEnd {
  int root_fd;  // borrowed
  const path::SafePath& path;
};
[[nodiscard]] Status rename_file(RenameEnd from, RenameEnd to);

enum class Depth : std::uint8_t { single, recursive };
/// A file, link or empty directory; with `recursive` a tree, whose links are unlinked and never followed. The root
/// itself is PERMISSION_DENIED.
[[nodiscard]] Status remove_file(int root_fd, const path::SafePath& file, Depth depth);

struct FileSum {
  digest::Sha256 sha256;
  std::uint64_t size = 0;
};
/// SHA-256 of a regular file's content.
[[nodiscard]] Result<FileSum> sum_file(int root_fd, const path::SafePath& file);

/// What `path` meets on its way, where something said NOT_A_DIRECTORY: names the first that is none.
[[nodiscard]] Error not_a_directory(int root_fd, const path::SafePath& path);

}  // namespace penstock::storage
