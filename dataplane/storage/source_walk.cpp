#include "dataplane/storage/source_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <utility>

#include "common/escape.h"

namespace penstock::storage {

namespace {

std::int64_t ns_of(const timespec& time) { return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec; }

/// Follows links, but only such as stay beneath `directory`. Links::follow alone.
Result<UniqueFd> open_following(int directory, const std::string& path, std::uint64_t flags) {
  struct open_how how {};
  how.flags = flags | O_CLOEXEC;
  if ((flags & O_PATH) == 0) how.flags |= O_NONBLOCK;  // openat2 refuses the two together
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const auto fd = ::syscall(SYS_openat2, directory, path.empty() ? "." : path.c_str(), &how, sizeof how);
  if (fd < 0) return error_from_errno(errno == EXDEV ? ELOOP : errno, "follow", path);
  return UniqueFd{static_cast<int>(fd)};
}

Result<UniqueFd> must_be_regular(Result<UniqueFd> opened, const std::string& shown) {
  if (!opened) return opened;
  struct stat status {};
  if (::fstat(opened->get(), &status) != 0) return error_from_errno(errno, "examine", shown);
  if (!S_ISREG(status.st_mode)) {
    return Error{ErrorCode::SPECIAL_FILE, escape_for_display(shown, 512) + " is not a regular file any more", shown};
  }
  return opened;
}

ManifestEntry entry_of(std::uint32_t root, const std::string& path, FileType type, const struct stat& status) {
  ManifestEntry entry;
  entry.root = root;
  entry.path = path;
  entry.type = type;
  entry.mode = status.st_mode & 0777U;
  entry.mtime_ns = ns_of(status.st_mtim);
  if (type == FileType::regular) {
    entry.size = static_cast<std::uint64_t>(status.st_size);
    entry.identity = identity_of(status);
  }
  return entry;
}

}  // namespace

SourceBase::SourceBase(std::vector<SourceRoot> roots, Links links) : roots_(std::move(roots)), links_(links) {}

std::string SourceBase::display(std::uint32_t root, const std::string& below) const {
  std::string shown = roots_[root].display.empty() ? roots_[root].path.absolute_text() : roots_[root].display;
  if (!below.empty()) shown += (shown.ends_with('/') ? "" : "/") + below;
  return shown;
}

Result<UniqueFd> SourceBase::open_directory(std::uint32_t root, const path::SafePath& below,
                                            path::DirectoryAccess access) const {
  const auto& from = roots_[root];
  if (links_ == Links::follow) {
    const std::uint64_t how = access == path::DirectoryAccess::search ? O_PATH : O_RDONLY;
    return open_following(from.base.get(), from.path.joined(below).text(), how | O_DIRECTORY);
  }
  return path::open_directory_beneath(from.base.get(), from.path.joined(below), access);
}

Result<UniqueFd> SourceBase::open_file(std::uint32_t root, const UniqueFd& directory,
                                       const path::Component& name) const {
  auto opened = path::open_source_at(directory.get(), name);
  if (opened || links_ != Links::follow || opened.error().code != ErrorCode::PATH_REFUSED) return opened;
  // A link's way is judged from the root's base, not from its own directory, which it may well leave.
  char where[64];
  char directory_path[4096];
  std::snprintf(where, sizeof where, "/proc/self/fd/%d", directory.get());
  char base_path[4096];
  const auto directory_size = ::readlink(where, directory_path, sizeof directory_path - 1);
  std::snprintf(where, sizeof where, "/proc/self/fd/%d", roots_[root].base.get());
  const auto base_size = ::readlink(where, base_path, sizeof base_path - 1);
  if (directory_size < 0 || base_size < 0) return opened;
  std::string inside{directory_path, static_cast<std::size_t>(directory_size)};
  std::string outside{base_path, static_cast<std::size_t>(base_size)};
  if (!outside.ends_with('/')) outside += '/';
  inside += '/';
  if (!inside.starts_with(outside)) return opened;
  const std::string path = inside.substr(outside.size()) + name.text();
  return must_be_regular(open_following(roots_[root].base.get(), path, O_RDONLY), name.text());
}

Result<UniqueFd> SourceBase::open_root_file(std::uint32_t root) const {
  const auto& from = roots_[root];
  if (from.path.is_root()) return error_from_errno(EISDIR, "read", display(root, {}));
  auto parent = path::open_directory_beneath(from.base.get(), from.path.parent(), path::DirectoryAccess::search);
  if (!parent) return parent;
  return open_file(root, *parent, from.path.name());
}

Result<struct stat> SourceBase::examine(const UniqueFd& directory, const path::Component& name) const {
  return path::stat_at(directory.get(), name);
}

SourceWalk::SourceWalk(const SourceBase& base, const PosixSourceConfig& config) : base_(base), config_(config) {}

Result<WalkBatch> SourceWalk::next(std::size_t entries_max) {
  WalkBatch batch;
  // Warnings count too, so that a directory of a million unreadable names still comes in pieces.
  while (batch.entries.size() + batch.warnings.size() < entries_max) {
    if (levels_.empty()) {
      if (root_ + (in_root_ ? 1U : 0U) >= base_.roots()) {
        batch.end = true;
        break;
      }
      if (in_root_) ++root_;
      in_root_ = true;
      if (auto begun = begin_root(batch); !begun) return std::move(begun).error();
      continue;
    }
    Level& level = levels_.back();
    if (level.names.empty()) {
      levels_.pop_back();
      continue;
    }
    const std::string name = std::move(level.names.back());
    level.names.pop_back();
    if (!level.fd) {
      // Only the deepest directory stays open, so depth costs no descriptors.
      auto below = path::SafePath::parse_relative(level.path);
      auto opened =
          below ? base_.open_directory(root_, *below, path::DirectoryAccess::read) : Result<UniqueFd>{below.error()};
      struct stat status {};
      if (!opened || ::fstat(opened->get(), &status) != 0 || status.st_dev != level.device ||
          status.st_ino != level.inode) {
        warn(batch,
             Error{ErrorCode::SOURCE_CHANGED, "the directory changed while it was listed; the rest of it is left out"},
             level.path);
        level.names.clear();
        continue;
      }
      level.fd = std::move(*opened);
    }
    UniqueFd fd = std::move(level.fd);  // visit may grow levels_ and move `level`
    const std::size_t depth = levels_.size();
    visit(fd, name, batch);
    if (levels_.size() == depth) levels_.back().fd = std::move(fd);
  }
  return batch;
}

Status SourceWalk::begin_root(WalkBatch& batch) {
  const auto& root = base_.root(root_);
  const std::string shown = base_.display(root_, {});
  const auto failed = [&](Error error) { return told_of(std::move(error), shown); };
  if (!root.path.is_root()) {
    auto parent = path::open_directory_beneath(root.base.get(), root.path.parent(), path::DirectoryAccess::search);
    if (!parent) return failed(std::move(parent).error());
    auto status = path::stat_at(parent->get(), root.path.name());
    if (!status) return failed(std::move(status).error());
    if (S_ISLNK(status->st_mode) && !root.contents && config_.links == Links::keep) {
      auto target = path::read_link_at(parent->get(), root.path.name());
      if (!target) return failed(std::move(target).error());
      ManifestEntry entry = entry_of(root_, {}, FileType::symlink, *status);
      entry.link_target = std::move(*target);
      batch.entries.push_back(std::move(entry));
      return {};
    }
    if (!S_ISDIR(status->st_mode) && !S_ISLNK(status->st_mode)) {
      if (root.contents) return failed(error_from_errno(ENOTDIR, "send the contents of", shown));
      auto file = base_.open_root_file(root_);
      if (!file) return failed(std::move(file).error());
      if (auto entry = describe_file(*file, {}, batch)) batch.entries.push_back(std::move(*entry));
      return {};
    }
  }
  auto directory = base_.open_directory(root_, path::SafePath{}, path::DirectoryAccess::read);
  if (!directory && directory.error().code == ErrorCode::NOT_A_DIRECTORY && !root.contents) {
    auto file = base_.open_root_file(root_);
    if (!file) return failed(std::move(file).error());
    if (auto entry = describe_file(*file, {}, batch)) batch.entries.push_back(std::move(*entry));
    return {};
  }
  if (!directory) return failed(std::move(directory).error());
  struct stat status {};
  if (::fstat(directory->get(), &status) != 0) return failed(error_from_errno(errno, "examine", shown));
  batch.entries.push_back(entry_of(root_, {}, FileType::directory, status));
  enter({}, std::move(*directory), status, batch);
  return {};
}

namespace {
bool may_have_holes(const struct stat& status, std::uint64_t size_min) {
  const auto size = static_cast<std::uint64_t>(status.st_size);
  // A file with a block for every byte has no hole worth a system call. st_blocks counts 512 bytes.
  return size >= size_min && static_cast<std::uint64_t>(status.st_blocks) * 512 < size;
}
}  // namespace

void SourceWalk::visit(const UniqueFd& directory, const std::string& name, WalkBatch& batch) {
  const std::string path = levels_.back().path.empty() ? name : levels_.back().path + '/' + name;
  auto component = path::Component::parse(name);
  if (!component) return warn(batch, std::move(component).error(), path);
  if (path.size() > manifest_path_size_max) return warn(batch, error_from_errno(ENAMETOOLONG, "send", {}), path);
  auto status = base_.examine(directory, *component);
  if (!status) return warn(batch, std::move(status).error(), path);
  const bool found_in_place = S_ISREG(status->st_mode);

  UniqueFd followed;
  if (S_ISLNK(status->st_mode)) {
    if (config_.links == Links::skip) return;
    if (config_.links == Links::keep) {
      auto target = path::read_link_at(directory.get(), *component);
      if (!target) return warn(batch, std::move(target).error(), path);
      ManifestEntry entry = entry_of(root_, path, FileType::symlink, *status);
      entry.link_target = std::move(*target);
      batch.entries.push_back(std::move(entry));
      return;
    }
    auto below = path::SafePath::parse_relative(path);
    auto as_directory = base_.open_directory(root_, *below, path::DirectoryAccess::read);
    if (as_directory) {
      followed = std::move(*as_directory);
      if (::fstat(followed.get(), &*status) != 0) return warn(batch, error_from_errno(errno, "examine", path), path);
    } else if (as_directory.error().code != ErrorCode::NOT_A_DIRECTORY) {
      return warn(batch, std::move(as_directory).error(), path);
    } else {
      status->st_mode = S_IFREG;
    }
  }
  if (S_ISDIR(status->st_mode)) {
    Result<UniqueFd> opened = std::move(followed);
    if (!*opened) opened = path::open_at(directory.get(), *component, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    struct stat now {};
    if (opened && ::fstat(opened->get(), &now) != 0) opened = error_from_errno(errno, "examine", path);
    if (!opened) return warn(batch, std::move(opened).error(), path);
    for (const auto& level : levels_) {
      if (level.device == now.st_dev && level.inode == now.st_ino) {
        return warn(batch, Error{ErrorCode::PATH_REFUSED, "a link leads back to a directory above it; it is left out"},
                    path);
      }
    }
    batch.entries.push_back(entry_of(root_, path, FileType::directory, now));
    return enter(path, std::move(*opened), now, batch);
  }
  if (!S_ISREG(status->st_mode)) {
    return warn(batch, Error{ErrorCode::SPECIAL_FILE, "devices, sockets and pipes are not transferred; it is left out"},
                path);
  }
  // Opening each file only to see that it opens costs more than all else of the walk. It is opened again for reading,
  // and compared, in any case; here it is only about holes, and about saying early what can not be read.
  if (found_in_place && !may_have_holes(*status, config_.hole_size_min) &&
      ::faccessat(directory.get(), component->c_str(), R_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW) == 0) {
    batch.entries.push_back(entry_of(root_, path, FileType::regular, *status));
    return;
  }
  auto file = base_.open_file(root_, directory, *component);
  if (!file) return warn(batch, std::move(file).error(), path);
  if (auto entry = describe_file(*file, path, batch)) batch.entries.push_back(std::move(*entry));
}

std::optional<ManifestEntry> SourceWalk::describe_file(const UniqueFd& fd, const std::string& path,
                                                       WalkBatch& batch) const {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) {
    warn(batch, error_from_errno(errno, "examine", path), path);
    return std::nullopt;
  }
  ManifestEntry entry = entry_of(root_, path, FileType::regular, status);
  entry.holes = find_holes(fd.get(), status, config_.hole_size_min);
  return entry;
}

void SourceWalk::enter(const std::string& path, UniqueFd fd, const struct stat& status, WalkBatch& batch) {
  Level level{.path = path, .device = status.st_dev, .inode = status.st_ino, .names = {}, .fd = UniqueFd{}};
  const int copy = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
  DIR* const stream = copy < 0 ? nullptr : ::fdopendir(copy);
  if (stream == nullptr) {
    const int reason = errno;
    if (copy >= 0) ::close(copy);
    return warn(batch, error_from_errno(reason, "list", path), path);
  }
  errno = 0;
  while (const dirent* found = ::readdir(stream)) {
    const std::string_view name = found->d_name;
    if (name != "." && name != ".." && !path::is_partial_name(name)) level.names.emplace_back(name);
  }
  const int reason = errno;
  ::closedir(stream);
  if (reason != 0) warn(batch, error_from_errno(reason, "list all of", path), path);
  std::sort(level.names.begin(), level.names.end(), std::greater<>{});
  level.fd = std::move(fd);
  levels_.push_back(std::move(level));
}

void SourceWalk::warn(WalkBatch& batch, Error error, const std::string& path) const {
  const std::string shown = base_.display(root_, path);
  // Some know no name to speak of ("the directory changed"): then it goes in front.
  if (error.path.empty() && !error.message.starts_with("cannot "))
    error.message = escape_for_display(shown, 512) + ": " + error.message;
  batch.warnings.push_back(told_of(std::move(error), shown));
}

std::vector<Hole> find_holes(int fd, const struct stat& status, std::uint64_t size_min) {
  if (!may_have_holes(status, size_min)) return {};
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::vector<Hole> holes;
  std::uint64_t at = 0;
  while (at < size) {
    const auto begin = ::lseek(fd, static_cast<off_t>(at), SEEK_HOLE);
    if (begin < 0 || static_cast<std::uint64_t>(begin) >= size) break;
    auto end = ::lseek(fd, begin, SEEK_DATA);
    if (end < 0 && errno != ENXIO) break;
    if (end < 0 || static_cast<std::uint64_t>(end) > size) end = static_cast<off_t>(size);  // a hole up to the end
    const Hole hole{static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end - begin)};
    if (hole.length >= size_min) holes.push_back(hole);
    at = static_cast<std::uint64_t>(end);
    if (holes.size() >= 4 * holes_max) break;
  }
  if (holes.size() > holes_max) {
    std::nth_element(holes.begin(), holes.begin() + holes_max, holes.end(),
                     [](const Hole& a, const Hole& b) { return a.length > b.length; });
    holes.resize(holes_max);
    std::sort(holes.begin(), holes.end());
  }
  return holes;
}

}  // namespace penstock::storage
