#pragma once

#include <cstddef>

#include "dataplane/storage/journal.h"

namespace penstock::storage {

/// Unlinks the partials that a journal knows of, beneath `root_fd`: each must be a regular file or a symbolic link
/// with no second name but its target's, and have the recorded device and inode where these are recorded. Returns how
/// many went. Errors leave the partial where it is.
std::size_t sweep_partials(int root_fd, const JournalIndex& earlier);
/// The same for one target's.
std::size_t sweep_partials(int root_fd, const std::string& target, const JournalFile& file);

}  // namespace penstock::storage
