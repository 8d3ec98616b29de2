#pragma once

#include <cstdint>
#include <vector>

#include "common/path/safe_path.h"
#include "common/result.h"

namespace penstock::storage {

/// A complete and durable partial that is about to get its name, where nothing may stand.
struct Naming {
  std::uint64_t index = 0;  // entry of the manifest
  path::SafePath target;    // below the base
  path::Component partial;  // in the same directory
  std::uint64_t parent_device = 0;
  std::uint64_t parent_inode = 0;
  Status result = {};  // FILE_EXISTS, PATH_REFUSED: the directory is not the one that was written to, and so on
};

/// Renames each, replacing nothing (rename_at with Replace::no). Every directory is resolved from `base` once more, at
/// this moment and following no link: what was put in its place meanwhile does not get our file.
/// Half of what a small file costs a sink is done here and in fsync, so it is a thread's of its own. Threads: any;
/// touches nothing but the arguments.
void give_names(int base, std::vector<Naming>& namings);

/// The directory of this target is another than the one that its partial was made in.
[[nodiscard]] Error directory_was_replaced(const path::SafePath& target);

}  // namespace penstock::storage
