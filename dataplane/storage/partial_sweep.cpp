#include "dataplane/storage/partial_sweep.h"

#include <sys/stat.h>

#include <utility>

#include "common/path/beneath.h"
#include "common/path/safe_path.h"

namespace penstock::storage {

namespace {

bool unlink_partial(int directory, const std::string& name, const path::Component& target,
                    const PartialCreated* recorded) {
  const auto component = path::Component::parse_partial(name);
  if (!component) return false;
  const auto status = path::stat_at(directory, *component);
  // A link is made under a partial's name too.
  if (!status || (!S_ISREG(status->st_mode) && !S_ISLNK(status->st_mode))) return false;
  if (status->st_nlink != 1) {
    // A second name is somebody's intent, unless it is the target's: where renaming without replacing takes two steps
    // (linkat, unlinkat), a crash leaves both.
    const auto published = path::stat_at(directory, target);
    const bool ours = published && published->st_dev == status->st_dev && published->st_ino == status->st_ino;
    if (!ours || status->st_nlink != 2) return false;
  }
  if (recorded != nullptr && (status->st_dev != recorded->device || status->st_ino != recorded->inode)) return false;
  return path::unlink_at(directory, *component).ok();
}

}  // namespace

std::size_t sweep_partials(int root_fd, const std::string& target, const JournalFile& file) {
  if (!file.partial && file.intended.empty()) return 0;
  const auto path = path::SafePath::parse_relative(target);
  if (!path || path->is_root()) return 0;
  const auto directory = path::open_directory_beneath(root_fd, path->parent(), path::DirectoryAccess::search);
  if (!directory) return 0;
  const path::Component target_name = path->name();
  std::size_t gone = 0;
  for (const auto& name : file.intended) gone += unlink_partial(directory->get(), name, target_name, nullptr) ? 1U : 0U;
  if (file.partial)
    gone += unlink_partial(directory->get(), file.partial->partial_name, target_name, &*file.partial) ? 1U : 0U;
  return gone;
}

std::size_t sweep_partials(int root_fd, const JournalIndex& earlier) {
  std::size_t gone = 0;
  // What can not be read any more can not be swept; the files are hidden, and stay.
  (void)earlier.for_each_left(
      [&](const std::string& target, const JournalFile& file) { gone += sweep_partials(root_fd, target, file); });
  return gone;
}

}  // namespace penstock::storage
