#include "dataplane/storage/target_tree.h"

#include <sys/stat.h>

#include <cerrno>
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
  for (const auto& directory : unsynced.file_systems) {
    if (const int result = calls.syncfs(directory->fd.get()); result < 0) return result;
  }
  return 0;
}

TargetTree::TargetTree(UniqueFd base, std::size_t descriptors_max)
    : base_(std::move(base)), descriptors_max_(descriptors_max) {}

Result<HeldDirectory> TargetTree::hold(UniqueFd fd, const path::SafePath& directory) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return error_from_errno(errno, "examine", directory.text());
  auto held = std::make_shared<TargetDirectory>();
  held->fd = std::move(fd);
  held->device = status.st_dev;
  held->inode = status.st_ino;
  held->path = directory;
  HeldDirectory result = std::move(held);
  file_systems_.emplace(result->device, result);
  return result;
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

Result<HeldDirectory> TargetTree::make(const path::SafePath& directory) {
  auto opened = open(directory);
  if (opened || opened.error().code != ErrorCode::NOT_FOUND || directory.is_root()) return opened;
  auto parent = make(directory.parent());
  if (!parent) return parent;
  auto made = path::make_directory_at((*parent)->fd.get(), directory.name(), 0700);
  if (!made && made.error().code != ErrorCode::FILE_EXISTS) {
    Error error = std::move(made).error();
    error.path = directory.text();
    return error;
  }
  note_changed(*parent);
  return open(directory);
}

Result<HeldDirectory> TargetTree::resolve_again(const path::SafePath& directory) {
  auto fd = path::open_directory_beneath(base_.get(), directory, path::DirectoryAccess::read);
  if (!fd) return std::move(fd).error();
  return hold(std::move(*fd), directory);
}

void TargetTree::note_changed(const HeldDirectory& directory) {
  if (many_changed_) return;
  changed_.emplace(directory->path.text(), directory);
  if (changed_.size() <= changed_directories_max) return;
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

std::vector<HeldDirectory> TargetTree::file_systems() const {
  std::vector<HeldDirectory> result;
  for (const auto& [device, directory] : file_systems_) result.push_back(directory);
  return result;
}

}  // namespace penstock::storage
