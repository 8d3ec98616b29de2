#pragma once

#include <string>
#include <vector>

#include "control/proto/gate.pb.h"

namespace penstock::control {

/// Which names a push makes as a whole, so that two of them at once by one client are an older and a newer attempt at
/// the same thing (PROTOCOL section 1, "One live writer per target"). Files of a directory that was there before are
/// not among them: storage's claims guard those one by one.
struct PushTargets {
  std::vector<std::string> makes;     // canonical, below the root; given their name by this push alone
  std::vector<std::string> replaces;  // besides: may be replaced or merged into, so that nobody else may be making it

  /// Whether this push, the newer one, must wait until the older one is gone.
  [[nodiscard]] bool collide_with(const PushTargets& older) const;
};

/// By the words of a push; `destination_is_directory`: before it began. Words that make no sense give no target: they
/// are refused elsewhere. Pure.
[[nodiscard]] PushTargets push_targets(const proto::OpenTransfer& open, bool destination_is_directory);

}  // namespace penstock::control
