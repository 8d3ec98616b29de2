#include "dataplane/storage/target_tree.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <utility>

namespace penstock::storage {

namespace {
// Above so many directories one syncfs is cheaper than an fsync of each.
constexpr std::size_t changed_directories_max = 16;
}  // namespace

int sync_directories(const UnsyncedDirectories& unsynced, FileCalls& calls) {
  for (const auto& directory : unsynced.directories) {
    // Some file systems have nothing to sync in a directory and say EINVAL.
    if (const int result = calls.fsync(directory->fd.get()); result < 0 && result != -EINVAL) return result;
  }
  for (const auto& file : unsynced.file_systems) {
    if (const int result = calls.syncfs(file->get()); result < 0) return result;
  }
  return 0;
}

int set_directory_metadata(const TargetDirectory& directory, const timespec& mtime, mode_t mode) {
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, mtime};
  if (directory.readable) {
    return ::futimens(directory.fd.get(), times) == 0 && ::fchmod(directory.fd.get(), mode) == 0 ? 0 : errno;
  }
  // A descriptor that was opened for searching alone is no argument of those; this name for it is nobody's to swap.
  const std::string name = "/proc/self/fd/" + std::to_string(directory.fd.get());
  return ::utimensat(AT_FDCWD, name.c_str(), times, 0) == 0 && ::chmod(name.c_str(), mode) == 0 ? 0 : errno;
}

TargetTree::TargetTree(UniqueFd base, std::size_t descriptors_max)
    : base_(std::move(base)), descriptors_max_(descriptors_max) {}

Result<HeldDirectory> TargetTree::hold(UniqueFd fd, const path::SafePath& directory, path::DirectoryAccess access) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return error_from_errno(errno, "examine", directory.text());
  auto held = std::make_shared<TargetDirectory>();
  held->fd = std::move(fd);
  held->readable = access == path::DirectoryAccess::read;
  held->device = status.st_dev;
  held->inode = status.st_ino;
  held->path = directory;
  if (!file_systems_.contains(held->device)) {
    if (held->readable) {
      file_systems_.emplace(held->device, std::shared_ptr<const UniqueFd>{held, &held->fd});
    } else {
      // What may be created in can be made durable, through a file without a name.
      auto file = std::make_shared<UniqueFd>(::openat(held->fd.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
      struct stat base {};
      if (!*file && ::fstat(base_.get(), &base) == 0 && base.st_dev == held->device) {
        *file = UniqueFd{::openat(base_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
      }
      if (!*file) return error_from_errno(EACCES, "make durable what is put into", directory.absolute_text());
      file_systems_.emplace(held->device, std::move(file));
    }
  }
  return HeldDirectory{std::move(held)};
}

Result<HeldDirectory> TargetTree::cached(Result<HeldDirectory> opened) {
  if (!opened) return opened;
  recent_.push_front(*opened);
  by_path_[(*opened)->path.text()] = recent_.begin();
  if (recent_.size() > descriptors_max_) {
    by_path_.erase(recent_.back()->path.text());
    recent_.pop_back();
  }
  return opened;
}

Result<HeldDirectory> TargetTree::open(const path::SafePath& directory) {
  if (const auto found = by_path_.find(directory.text()); found != by_path_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
    return recent_.front();
  }
  return cached(resolve_again(directory));
}

Result<HeldDirectory> TargetTree::make(const path::SafePath& directory, mode_t mode) {
  auto opened = open(directory);
  if (opened || opened.error().code != ErrorCode::NOT_FOUND || directory.is_root()) return opened;
  auto parent = make(directory.parent(), mode);
  if (!parent) return parent;
  auto made = path::make_directory_at((*parent)->fd.get(), directory.name(), mode);
  if (!made && made.error().code != ErrorCode::FILE_EXISTS) return told_of(std::move(made).error(), directory.text());
  note_changed(*parent);
  return open(directory);
}

Result<HeldDirectory> TargetTree::resolve_again(const path::SafePath& directory) {
  auto fd = path::open_directory_beneath(base_.get(), directory, path::DirectoryAccess::read);
  if (fd) return hold(std::move(*fd), directory, path::DirectoryAccess::read);
  if (fd.error().code != ErrorCode::PERMISSION_DENIED) return std::move(fd).error();
  auto drop_box = path::open_directory_beneath(base_.get(), directory, path::DirectoryAccess::search);
  if (!drop_box) return std::move(drop_box).error();
  return hold(std::move(*drop_box), directory, path::DirectoryAccess::search);
}

void TargetTree::note_changed(const HeldDirectory& directory) {
  if (many_changed_) return;
  if (directory->readable) {
    changed_.emplace(directory->path.text(), directory);
    if (changed_.size() <= changed_directories_max) return;
  }
  many_changed_ = true;
  changed_.clear();
}

UnsyncedDirectories TargetTree::take_unsynced() {
  UnsyncedDirectories unsynced;
  if (std::exchange(many_changed_, false)) unsynced.file_systems = file_systems();
  for (auto& [path, directory] : changed_) unsynced.directories.push_back(std::move(directory));
  changed_.clear();
  return unsynced;
}

std::vector<std::shared_ptr<const UniqueFd>> TargetTree::file_systems() const {
  std::vector<std::shared_ptr<const UniqueFd>> result;
  for (const auto& [device, file] : file_systems_) result.push_back(file);
  return result;
}

}  // namespace penstock::storage
