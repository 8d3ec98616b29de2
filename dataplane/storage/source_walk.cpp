#include "dataplane/storage/source_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <utility>

#include "common/escape.h"

namespace penstock::storage {

namespace {

std::int64_t ns_of(const timespec& time) { return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec; }

/// Follows links wherever they lead: our own machine, and its user's word. Longer paths than PATH_MAX go in pieces.
Result<UniqueFd> open_directory_anywhere(int base, const std::string& path, path::DirectoryAccess access) {
  UniqueFd current;
  std::size_t at = 0;
  do {
    std::size_t end = path.size();
    if (end - at >= PATH_MAX) end = path.rfind('/', at + PATH_MAX - 1);  // no component is as long
    const std::string piece = path.substr(at, end - at);
    const int flags = end == path.size() && access == path::DirectoryAccess::read ? O_RDONLY | O_NONBLOCK : O_PATH;
    UniqueFd next{
        ::openat(current ? current.get() : base, piece.empty() ? "." : piece.c_str(), flags | O_DIRECTORY | O_CLOEXEC)};
    if (!next) return error_from_errno(errno, "open the directory", path);
    current = std::move(next);
    at = end + 1;
  } while (at < path.size());
  return current;
}

Result<UniqueFd> must_be_regular(UniqueFd opened, const std::string& shown) {
  struct stat status {};
  if (::fstat(opened.get(), &status) != 0) return error_from_errno(errno, "examine", shown);
  if (!S_ISREG(status.st_mode)) {
    return Error{ErrorCode::SPECIAL_FILE, escape_for_display(shown, 512) + " is not a regular file any more", shown};
  }
  return opened;
}

/// lstat of a path without links.
Result<struct stat> stat_beneath(int base, const path::SafePath& place) {
  if (place.is_root()) {
    struct stat status {};
    if (::fstat(base, &status) != 0) return error_from_errno(errno, "examine", "/");
    return status;
  }
  auto parent = path::open_directory_beneath(base, place.parent(), path::DirectoryAccess::search);
  if (!parent) return std::move(parent).error();
  return path::stat_at(parent->get(), place.name());
}

Result<UniqueFd> open_file_beneath(int base, const path::SafePath& place) {
  if (place.is_root()) return error_from_errno(EISDIR, "read", "/");
  auto parent = path::open_directory_beneath(base, place.parent(), path::DirectoryAccess::search);
  if (!parent) return parent;
  return path::open_source_at(parent->get(), place.name());
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

SourceBase::SourceBase(std::vector<SourceRoot> roots, Links links) : links_(links) {
  roots_.reserve(roots.size());
  for (auto& given : roots) {
    roots_.push_back({.given = std::move(given), .place = {}, .judged = false});
    roots_.back().place = roots_.back().given.path;
  }
}

std::string SourceBase::display(std::uint32_t root, const std::string& below) const {
  const auto& given = roots_[root].given;
  std::string shown = given.display.empty() ? given.path.absolute_text() : given.display;
  if (!below.empty()) shown += (shown.ends_with('/') ? "" : "/") + below;
  return shown;
}

Result<struct stat> SourceBase::settle_root(std::uint32_t root) {
  auto& [given, place, judged] = roots_[root];
  if (given.unusable) return *given.unusable;
  if (given.bounds && !given.path.is_root()) {
    const auto name = path::SafePath{}.child(given.path.name());
    auto followed = path::follow_beneath(given.base.get(), given.path.parent(), name, *given.bounds);
    if (!followed) return std::move(followed).error();
    place = std::move(*followed);
  }
  judged = given.bounds && (links_ == Links::follow || place != given.path);
  return stat_beneath(given.base.get(), place);
}

Status SourceBase::check_covered(std::uint32_t root, const path::SafePath& place) const {
  const auto& [given, root_place, judged] = roots_[root];
  if (!judged || !given.bounds->covers || given.bounds->covers(place)) return {};
  return Error{ErrorCode::PATH_REFUSED, escape_for_display(place.text(), 512) + " is not granted, and is left out",
               place.text()};
}

Result<OpenedSource> SourceBase::open_directory(std::uint32_t root, const path::SafePath& below,
                                                path::DirectoryAccess access) const {
  const auto& from = roots_[root];
  const int base = from.given.base.get();
  if (links_ == Links::follow && !from.given.bounds) {
    auto opened = open_directory_anywhere(base, from.place.joined(below).text(), access);
    if (!opened) return std::move(opened).error();
    return OpenedSource{.fd = std::move(*opened), .place = {}};
  }
  path::SafePath place = from.place.joined(below);
  if (links_ == Links::follow) {
    auto followed = path::follow_beneath(base, from.place, below, *from.given.bounds);
    if (!followed) return std::move(followed).error();
    place = std::move(*followed);
  }
  if (auto covered = check_covered(root, place); !covered) return std::move(covered).error();
  auto opened = path::open_directory_beneath(base, place, access);
  if (!opened) return std::move(opened).error();
  return OpenedSource{.fd = std::move(*opened), .place = std::move(place)};
}

Result<UniqueFd> SourceBase::open_root_file(std::uint32_t root) const {
  return open_file_beneath(roots_[root].given.base.get(), roots_[root].place);
}

Result<SourceChild> SourceBase::examine(std::uint32_t root, const OpenedSource& directory,
                                        const path::Component& name) const {
  const auto& from = roots_[root];
  SourceChild child;
  if (from.judged) {
    child.place = directory.place.child(name);
    if (auto covered = check_covered(root, child.place); !covered) return std::move(covered).error();
  }
  auto status = path::stat_at(directory.fd.get(), name);
  if (!status) return std::move(status).error();
  child.status = *status;
  if (!S_ISLNK(child.status.st_mode) || links_ != Links::follow) return child;
  child.followed = true;
  if (!from.given.bounds) {
    if (::fstatat(directory.fd.get(), name.c_str(), &child.status, 0) != 0)
      return error_from_errno(errno, "follow", name.text());
    return child;
  }
  const int base = from.given.base.get();
  auto place = path::follow_beneath(base, directory.place, path::SafePath{}.child(name), *from.given.bounds);
  if (!place) return std::move(place).error();
  child.place = std::move(*place);
  status = stat_beneath(base, child.place);
  if (!status) return std::move(status).error();
  child.status = *status;
  return child;
}

Result<UniqueFd> SourceBase::enter(std::uint32_t root, const OpenedSource& directory, const path::Component& name,
                                   const SourceChild& child) const {
  const auto& from = roots_[root];
  if (!child.followed) return path::open_at(directory.fd.get(), name, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
  if (from.given.bounds)
    return path::open_directory_beneath(from.given.base.get(), child.place, path::DirectoryAccess::read);
  return open_directory_anywhere(directory.fd.get(), name.text(), path::DirectoryAccess::read);
}

Result<UniqueFd> SourceBase::open_file(std::uint32_t root, const OpenedSource& directory,
                                       const path::Component& name) const {
  const auto& from = roots_[root];
  if (from.judged) {
    if (auto covered = check_covered(root, directory.place.child(name)); !covered) return std::move(covered).error();
  }
  auto opened = path::open_source_at(directory.fd.get(), name);
  if (opened || links_ != Links::follow || opened.error().code != ErrorCode::PATH_REFUSED) return opened;
  if (from.given.bounds) {
    const int base = from.given.base.get();
    auto place = path::follow_beneath(base, directory.place, path::SafePath{}.child(name), *from.given.bounds);
    if (!place) return std::move(place).error();
    return open_file_beneath(base, *place);
  }
  UniqueFd fd{::openat(directory.fd.get(), name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  if (!fd) return error_from_errno(errno, "follow", name.text());
  return must_be_regular(std::move(fd), name.text());
}

SourceWalk::SourceWalk(SourceBase& base, const PosixSourceConfig& config) : base_(base), config_(config) {}

Result<WalkBatch> SourceWalk::next(std::size_t entries_max) {
  WalkBatch batch;
  if (!std::exchange(begun_, true)) {
    if (auto looked = look_at_roots(); !looked) return std::move(looked).error();
  }
  // Warnings count too, so that a directory of a million unreadable names still comes in pieces.
  while (batch.entries.size() + batch.warnings.size() < entries_max) {
    if (levels_.empty()) {
      if (root_ + (in_root_ ? 1U : 0U) >= base_.roots()) {
        if (!sends_ && refused_) return *refused_;
        batch.end = true;
        break;
      }
      if (in_root_) ++root_;
      in_root_ = true;
      begin_root(batch);
      continue;
    }
    Level& level = levels_.back();
    if (level.names.empty()) {
      levels_.pop_back();
      continue;
    }
    const std::string name = std::move(level.names.back());
    level.names.pop_back();
    if (!level.opened.fd) {
      // Only the deepest directory stays open, so depth costs no descriptors.
      auto below = path::SafePath::parse_relative(level.path);
      auto opened = below ? base_.open_directory(root_, *below, path::DirectoryAccess::read)
                          : Result<OpenedSource>{below.error()};
      struct stat status {};
      if (!opened || ::fstat(opened->fd.get(), &status) != 0 || status.st_dev != level.device ||
          status.st_ino != level.inode) {
        warn(batch,
             Error{ErrorCode::SOURCE_CHANGED, "the directory changed while it was listed; the rest of it is left out"},
             level.path);
        level.names.clear();
        continue;
      }
      level.opened = std::move(*opened);
    }
    OpenedSource opened = std::move(level.opened);  // visit may grow levels_ and move `level`
    const std::size_t depth = levels_.size();
    visit(opened, name, batch);
    if (levels_.size() == depth) levels_.back().opened = std::move(opened);
  }
  return batch;
}

Status SourceWalk::look_at_roots() {
  std::optional<Error> first;
  std::uint32_t refused = 0;
  for (std::uint32_t root = 0; root < base_.roots(); ++root) {
    auto opened = open_root(root);
    if (opened) continue;
    if (opened.error().code == ErrorCode::NOT_FOUND) return std::move(opened).error();
    if (!first) first = std::move(opened).error();
    ++refused;
  }
  if (first && refused == base_.roots()) return *std::move(first);
  return {};
}

Result<SourceWalk::Root> SourceWalk::open_root(std::uint32_t root) {
  const std::string shown = base_.display(root, {});
  const auto failed = [&](Error error) { return told_of(std::move(error), shown); };
  auto status = base_.settle_root(root);
  if (!status) return failed(std::move(status).error());
  if (S_ISDIR(status->st_mode)) {
    auto directory = base_.open_directory(root, path::SafePath{}, path::DirectoryAccess::read);
    if (!directory) return failed(std::move(directory).error());
    return Root{.opened = std::move(*directory), .is_directory = true};
  }
  if (base_.root(root).contents) return failed(error_from_errno(ENOTDIR, "send the contents of", shown));
  auto file = base_.open_root_file(root);
  if (!file) return failed(std::move(file).error());
  return Root{.opened = {.fd = std::move(*file), .place = {}}, .is_directory = false};
}

void SourceWalk::begin_root(WalkBatch& batch) {
  auto opened = open_root(root_);
  // All could be sent a moment ago, or others still can: that this one can not ends nothing.
  if (!opened) {
    refused_ = opened.error();
    return warn(batch, std::move(opened).error(), {});
  }
  sends_ = true;
  if (!opened->is_directory) {
    if (auto entry = describe_file(opened->opened.fd, {}, batch)) batch.entries.push_back(std::move(*entry));
    return;
  }
  struct stat status {};
  if (::fstat(opened->opened.fd.get(), &status) != 0)
    return warn(batch, error_from_errno(errno, "examine", base_.display(root_, {})), {});
  batch.entries.push_back(entry_of(root_, {}, FileType::directory, status));
  enter({}, std::move(opened->opened), status, batch);
}

namespace {
bool may_have_holes(const struct stat& status, std::uint64_t size_min) {
  const auto size = static_cast<std::uint64_t>(status.st_size);
  // A file with a block for every byte has no hole worth a system call. st_blocks counts 512 bytes.
  return size >= size_min && static_cast<std::uint64_t>(status.st_blocks) * 512 < size;
}
}  // namespace

void SourceWalk::visit(const OpenedSource& directory, const std::string& name, WalkBatch& batch) {
  const std::string path = levels_.back().path.empty() ? name : levels_.back().path + '/' + name;
  auto component = path::Component::parse(name);
  if (!component) return warn(batch, std::move(component).error(), path);
  if (path.size() > manifest_path_size_max) return warn(batch, error_from_errno(ENAMETOOLONG, "send", {}), path);
  auto child = base_.examine(root_, directory, *component);
  if (!child) return warn(batch, std::move(child).error(), path);
  const auto& status = child->status;
  if (S_ISLNK(status.st_mode)) {
    if (config_.links == Links::skip) return;
    auto target = path::read_link_at(directory.fd.get(), *component);
    if (!target) return warn(batch, std::move(target).error(), path);
    ManifestEntry entry = entry_of(root_, path, FileType::symlink, status);
    entry.link_target = std::move(*target);
    batch.entries.push_back(std::move(entry));
    return;
  }
  if (S_ISDIR(status.st_mode)) return visit_directory(directory, *component, *child, path, batch);
  if (!S_ISREG(status.st_mode)) {
    return warn(batch, Error{ErrorCode::SPECIAL_FILE, "devices, sockets and pipes are not transferred; it is left out"},
                path);
  }
  // Opening each file only to see that it opens costs more than all else of the walk. It is opened again for reading,
  // and compared, in any case; here it is only about holes, and about saying early what can not be read.
  // Its own mode lets the owner in, and no system call is needed to know it.
  const bool own = status.st_uid == ::geteuid() && (status.st_mode & S_IRUSR) != 0;
  if (!child->followed && !may_have_holes(status, config_.hole_size_min) &&
      (own || ::faccessat(directory.fd.get(), component->c_str(), R_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW) == 0)) {
    batch.entries.push_back(entry_of(root_, path, FileType::regular, status));
    return;
  }
  auto file = base_.open_file(root_, directory, *component);
  if (!file) return warn(batch, std::move(file).error(), path);
  if (auto entry = describe_file(*file, path, batch)) batch.entries.push_back(std::move(*entry));
}

void SourceWalk::visit_directory(const OpenedSource& directory, const path::Component& name, const SourceChild& child,
                                 const std::string& path, WalkBatch& batch) {
  auto opened = base_.enter(root_, directory, name, child);
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
  enter(path, {.fd = std::move(*opened), .place = child.place}, now, batch);
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

void SourceWalk::enter(const std::string& path, OpenedSource opened, const struct stat& status, WalkBatch& batch) {
  Level level{.path = path, .device = status.st_dev, .inode = status.st_ino, .names = {}, .opened = {}};
  const int copy = ::fcntl(opened.fd.get(), F_DUPFD_CLOEXEC, 0);
  DIR* const stream = copy < 0 ? nullptr : ::fdopendir(copy);
  if (stream == nullptr) {
    const int reason = errno;
    if (copy >= 0) ::close(copy);
    return warn(batch, error_from_errno(reason, "list", path), path);
  }
  errno = 0;
  while (const dirent* found = ::readdir(stream)) {
    const std::string_view name = found->d_name;
    // Partials of ours are nobody's files. What only looks like one is, and gets its warning when its turn comes.
    if (name != "." && name != ".." && !path::Component::parse_partial(name)) level.names.emplace_back(name);
  }
  const int reason = errno;
  ::closedir(stream);
  if (reason != 0) warn(batch, error_from_errno(reason, "list all of", path), path);
  std::sort(level.names.begin(), level.names.end(), std::greater<>{});
  level.opened = std::move(opened);
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
