#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "control/gate/pin.h"

namespace penstock::control {

/// The words of one transfer command, as far as they say what the transfer is.
struct TransferIdentity {
  std::string_view operation;  // "push" or "pull"
  Pin daemon;
  std::vector<std::string> sources;  // absolute; `SRC/.` keeps its `/.`
  std::string destination;           // absolute
  bool container = false;
  std::string_view overwrite;
  std::string_view digest;
  std::string_view links;
};

/// Equal for equal words, so that the same command again resumes what an earlier one left, whoever was killed:
/// SHA-256 over the words, each with its length. Scoped to the client's UUID by the daemon.
std::array<std::byte, 32> resume_key_of(const TransferIdentity& identity);

}  // namespace penstock::control
