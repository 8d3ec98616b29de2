#pragma once

#include <optional>
#include <vector>

#include "control/proto/gate.pb.h"
#include "control/registry/grant.h"

namespace penstock::control {

// Tuning: a page of a listing stays well below a message's 1 MiB: 1000 names of 255 bytes with their attributes.
inline constexpr std::size_t list_page_entries = 1000;

/// Is this a request about files (files.proto)?
bool is_file_request(const proto::Envelope& envelope);

/// Answers one: the reply, or a Failure. Blocks: to be run on a storage thread. `root_fd` is the served tree's.
proto::Envelope answer_file_request(const proto::Envelope& request, const std::vector<Grant>& grants, int root_fd);

}  // namespace penstock::control
