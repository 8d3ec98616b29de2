#include "dataplane/storage/naming.h"

#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "common/escape.h"
#include "common/path/beneath.h"
#include "common/unique_fd.h"

namespace penstock::storage {

namespace {

/// Files come in manifest order, so those of one directory in a row.
struct Parent {
  path::SafePath path;
  UniqueFd fd;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
};

Result<Parent> resolve(int base, path::SafePath directory) {
  auto fd = path::open_directory_beneath(base, directory, path::DirectoryAccess::search);
  if (!fd) return std::move(fd).error();
  struct stat status {};
  if (::fstat(fd->get(), &status) != 0) return error_from_errno(errno, "examine", directory.text());
  return Parent{.path = std::move(directory), .fd = std::move(*fd), .device = status.st_dev, .inode = status.st_ino};
}

}  // namespace

Error directory_was_replaced(const path::SafePath& target) {
  const std::string shown = target.absolute_text();
  return Error{ErrorCode::PATH_REFUSED,
               "the directory of " + escape_for_display(shown, 512) + " was replaced while the file was written",
               shown};
}

void give_names(int base, std::vector<Naming>& namings) {
  std::optional<Parent> parent;
  for (auto& naming : namings) {
    path::SafePath directory = naming.target.parent();
    if (!parent || parent->path != directory) {
      auto resolved = resolve(base, std::move(directory));
      if (!resolved) {
        parent.reset();
        naming.result = std::move(resolved).error();
        continue;
      }
      parent = std::move(*resolved);
    }
    if (parent->device != naming.parent_device || parent->inode != naming.parent_inode) {
      naming.result = directory_was_replaced(naming.target);
      continue;
    }
    naming.result = path::rename_at({parent->fd.get(), naming.partial}, {parent->fd.get(), naming.target.name()},
                                    path::Replace::no);
  }
}

}  // namespace penstock::storage
