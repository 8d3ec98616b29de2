#include "dataplane/storage/file_operations.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include "common/digest/sha256.h"
#include "common/escape.h"
#include "common/path/beneath.h"

namespace penstock::storage {

namespace {

using path::DirectoryAccess;

/// What failed under a name of its own directory, told by the path that was asked for. Errors of the way there (they
/// begin with a slash) keep naming the directory that they are about.
Error at(const path::SafePath& where, Error error) {
  if (!error.path.starts_with('/')) return told_of(std::move(error), where.absolute_text());
  error.path = where.absolute_text();
  return error;
}

FileInfo info_of(const std::string& name, const struct stat& status) {
  FileInfo info;
  info.name = name;
  info.type = S_ISREG(status.st_mode)   ? FileType::regular
              : S_ISDIR(status.st_mode) ? FileType::directory
              : S_ISLNK(status.st_mode) ? FileType::symlink
                                        : FileType::special;
  if (info.type == FileType::regular) info.size = static_cast<std::uint64_t>(status.st_size);
  info.mode = status.st_mode & 0777U;
  info.mtime_ns = status.st_mtim.tv_sec * std::int64_t{1'000'000'000} + status.st_mtim.tv_nsec;
  return info;
}

Result<FileInfo> info_at(int directory, const path::Component& name) {
  auto status = path::stat_at(directory, name);
  if (!status) return std::move(status).error();
  FileInfo info = info_of(name.text(), *status);
  if (info.type == FileType::symlink) {
    auto target = path::read_link_at(directory, name);
    if (!target) return std::move(target).error();
    info.link_target = std::move(*target);
  }
  return info;
}

Result<UniqueFd> open_parent(int root_fd, const path::SafePath& file) {
  auto opened = path::open_directory_beneath(root_fd, file.parent(), DirectoryAccess::search);
  if (!opened) return told_of(std::move(opened).error(), file.parent().absolute_text());
  return opened;
}

/// Names of an open directory, in no order, without `.`, `..` and partials; `keep` decides on each.
template <class Keep>
Status each_name(int directory, Keep keep) {
  const int copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const stream = copy < 0 ? nullptr : ::fdopendir(copy);
  if (stream == nullptr) {
    const int reason = errno;
    if (copy >= 0) ::close(copy);
    return error_from_errno(reason, "list the directory", {});
  }
  errno = 0;
  while (const dirent* found = ::readdir(stream)) {
    const std::string_view name = found->d_name;
    if (name != "." && name != "..") keep(name);
    errno = 0;
  }
  const int reason = errno;
  ::closedir(stream);
  if (reason != 0) return error_from_errno(reason, "list the directory", {});
  return {};
}

/// Whether a directory holds anything, partials too; false when nobody can say.
bool has_names(int parent, const path::Component& name) {
  const auto fd = path::open_at(parent, name, O_RDONLY | O_DIRECTORY);
  bool any = false;
  return fd && each_name(fd->get(), [&any](std::string_view) { any = true; }) && any;
}

Error unmovable_root() {
  return Error{ErrorCode::PERMISSION_DENIED, "the top directory of a grant can be neither moved nor removed"};
}

/// One directory on the way down, with what is left to remove in it.
struct Emptying {
  UniqueFd fd;
  path::Component name;  // in the directory above
  std::vector<std::string> names;
};

/// What is in a directory, partials too: those of a tree that goes, go with it.
Result<Emptying> begin_emptying(UniqueFd fd, const path::Component& name) {
  Emptying level{.fd = std::move(fd), .name = name, .names = {}};
  Status listed = each_name(level.fd.get(), [&](std::string_view found) { level.names.emplace_back(found); });
  if (!listed) return std::move(listed).error();
  return level;
}

Status remove_tree(int parent, const path::Component& name) {
  auto top = path::open_at(parent, name, O_RDONLY | O_DIRECTORY);
  if (!top) return std::move(top).error();
  std::vector<Emptying> levels;
  auto first = begin_emptying(std::move(*top), name);
  if (!first) return std::move(first).error();
  levels.push_back(std::move(*first));
  while (!levels.empty()) {
    auto& level = levels.back();
    if (level.names.empty()) {
      const path::Component done = level.name;
      levels.pop_back();
      const int above = levels.empty() ? parent : levels.back().fd.get();
      if (auto removed = path::remove_directory_at(above, done); !removed) return removed;
      continue;
    }
    const std::string next = std::move(level.names.back());
    level.names.pop_back();
    // Partials have names that no peer may say, but they go with the tree that they are in.
    auto component = path::Component::parse(next);
    if (!component) {
      auto partial = path::Component::parse_partial(next);
      if (!partial) return std::move(component).error();
      component = std::move(*partial);
    }
    auto status = path::stat_at(level.fd.get(), *component);
    if (!status) return std::move(status).error();
    if (!S_ISDIR(status->st_mode)) {
      if (auto removed = path::unlink_at(level.fd.get(), *component); !removed) return removed;
      continue;
    }
    auto below = path::open_at(level.fd.get(), *component, O_RDONLY | O_DIRECTORY);
    if (!below) return std::move(below).error();
    auto entered = begin_emptying(std::move(*below), *component);
    if (!entered) return std::move(entered).error();
    levels.push_back(std::move(*entered));
  }
  return {};
}

}  // namespace

Error not_a_directory(int root_fd, const path::SafePath& path) {
  path::SafePath way;
  for (const std::string_view part : path.components()) {
    const auto name = path::Component::parse(part);
    if (!name) break;
    way = way.child(*name);
    const auto info = stat_file(root_fd, way);
    if (!info) break;
    if (info->type == FileType::directory) continue;
    return Error{ErrorCode::NOT_A_DIRECTORY,
                 escape_for_display(way.absolute_text(), 512) + " is a file, where a directory is needed",
                 way.absolute_text()};
  }
  // It has changed since.
  return error_from_errno(ENOTDIR, "go to", path.absolute_text());
}

Result<DirectoryPage> list_directory(int root_fd, const path::SafePath& directory, const std::string& after,
                                     std::size_t entries_max) {
  auto opened = path::open_directory_beneath(root_fd, directory, DirectoryAccess::read);
  if (!opened && opened.error().code == ErrorCode::NOT_A_DIRECTORY && !directory.is_root()) {
    auto info = stat_file(root_fd, directory);
    if (!info) return std::move(info).error();
    info->name = directory.name().text();
    DirectoryPage page;
    if (info->name > after) page.entries.push_back(std::move(*info));
    return page;
  }
  if (!opened) return at(directory, std::move(opened).error());
  // The smallest names above `after`, kept as a heap of what a page may hold and one more.
  std::vector<std::string> names;
  Status listed = each_name(opened->get(), [&](std::string_view name) {
    if (name <= after || path::is_partial_name(name)) return;
    names.emplace_back(name);
    std::push_heap(names.begin(), names.end());
    if (names.size() <= entries_max + 1) return;
    std::pop_heap(names.begin(), names.end());
    names.pop_back();
  });
  if (!listed) return at(directory, std::move(listed).error());
  std::sort(names.begin(), names.end());
  DirectoryPage page;
  page.more = names.size() > entries_max;
  if (page.more) names.pop_back();
  for (const auto& name : names) {
    auto component = path::Component::parse(name);
    if (!component) continue;
    auto info = info_at(opened->get(), *component);
    if (info) page.entries.push_back(std::move(*info));  // else it went while we looked
  }
  return page;
}

Result<FileInfo> stat_file(int root_fd, const path::SafePath& file) {
  if (file.is_root()) {
    struct stat status {};
    if (::fstat(root_fd, &status) != 0) return error_from_errno(errno, "examine", file.absolute_text());
    return info_of(file.absolute_text(), status);
  }
  auto parent = open_parent(root_fd, file);
  if (!parent) return at(file, std::move(parent).error());
  auto info = info_at(parent->get(), file.name());
  if (!info) return at(file, std::move(info).error());
  info->name = file.absolute_text();
  return info;
}

Status make_directory(int root_fd, const path::SafePath& directory, Parents parents) {
  if (parents == Parents::create) {
    auto made = path::make_directories_beneath(root_fd, directory, 0777, DirectoryAccess::search);
    if (made) return {};
    if (made.error().code != ErrorCode::NOT_A_DIRECTORY) return at(directory, std::move(made).error());
    Error error = not_a_directory(root_fd, directory);
    // The place itself is taken, as with a plain mkdir; or there is no way to it.
    if (error.path == directory.absolute_text()) error.code = ErrorCode::TYPE_CONFLICT;
    return error;
  }
  const auto exists = [&] {
    return Error{
        ErrorCode::FILE_EXISTS,
        escape_for_display(directory.absolute_text()) + " exists already; mkdir -p is content with a directory",
        directory.absolute_text()};
  };
  if (directory.is_root()) return exists();
  auto parent = open_parent(root_fd, directory);
  if (!parent) return at(directory, std::move(parent).error());
  auto made = path::make_directory_at(parent->get(), directory.name(), 0777);
  if (!made && made.error().code == ErrorCode::FILE_EXISTS) return exists();
  if (!made) return at(directory, std::move(made).error());
  return {};
}

Status rename_file(RenameEnd from, RenameEnd to) {
  if (from.path.is_root() || to.path.is_root()) return at(from.path, unmovable_root());
  if (from.path != to.path && path::same_file(from.root_fd, to.root_fd) && from.path.contains(to.path)) {
    return Error{ErrorCode::PATH_REFUSED,
                 escape_for_display(from.path.absolute_text()) + " can not be moved into itself, as " +
                     escape_for_display(to.path.absolute_text()) + "; choose another name",
                 to.path.absolute_text()};
  }
  auto source = open_parent(from.root_fd, from.path);
  if (!source) return at(from.path, std::move(source).error());
  auto target = open_parent(to.root_fd, to.path);
  if (!target) return at(to.path, std::move(target).error());
  if (auto there = path::stat_at(source->get(), from.path.name()); !there) {
    return at(from.path, std::move(there).error());
  }
  const path::Component from_name = from.path.name();
  const path::Component to_name = to.path.name();
  auto renamed = path::rename_at({source->get(), from_name}, {target->get(), to_name}, path::Replace::no);
  if (!renamed && renamed.error().code == ErrorCode::FILE_EXISTS) {
    return Error{ErrorCode::FILE_EXISTS,
                 escape_for_display(to.path.absolute_text()) +
                     " exists already, and renaming replaces nothing; remove it first, or choose another name",
                 to.path.absolute_text()};
  }
  if (!renamed) return at(to.path, std::move(renamed).error());
  return {};
}

Status remove_file(int root_fd, const path::SafePath& file, Depth depth) {
  if (file.is_root()) return at(file, unmovable_root());
  auto parent = open_parent(root_fd, file);
  if (!parent) return at(file, std::move(parent).error());
  const path::Component name = file.name();
  auto status = path::stat_at(parent->get(), name);
  if (!status) return at(file, std::move(status).error());
  Status removed;
  if (!S_ISDIR(status->st_mode)) {
    removed = path::unlink_at(parent->get(), name);
  } else if (depth == Depth::recursive) {
    removed = remove_tree(parent->get(), name);
  } else {
    removed = path::remove_directory_at(parent->get(), name);
    if (!removed && removed.error().code == ErrorCode::IO_ERROR && has_names(parent->get(), name)) {
      return Error{ErrorCode::IS_A_DIRECTORY,
                   escape_for_display(file.absolute_text()) +
                       " is a directory that is not empty; rm -r removes it with all that is in it",
                   file.absolute_text()};
    }
  }
  if (!removed) return at(file, std::move(removed).error());
  return {};
}

Result<FileSum> sum_file(int root_fd, const path::SafePath& file) {
  if (file.is_root()) return error_from_errno(EISDIR, "digest", file.absolute_text());
  auto parent = open_parent(root_fd, file);
  if (!parent) return at(file, std::move(parent).error());
  auto opened = path::open_source_at(parent->get(), file.name());
  if (!opened) return at(file, std::move(opened).error());
  digest::Sha256Hasher hasher;
  std::vector<std::byte> buffer(256 * 1024);
  std::uint64_t size = 0;
  while (true) {
    const auto got = ::pread(opened->get(), buffer.data(), buffer.size(), static_cast<off_t>(size));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error_from_errno(errno, "read", file.absolute_text());
    if (got == 0) break;
    hasher.update(std::span{buffer}.first(static_cast<std::size_t>(got)));
    size += static_cast<std::uint64_t>(got);
  }
  return FileSum{.sha256 = hasher.digest(), .size = size};
}

}  // namespace penstock::storage
