#include "control/server/push_targets.h"

#include <algorithm>

#include "common/path/safe_path.h"

namespace penstock::control {

bool PushTargets::collide_with(const PushTargets& older) const {
  const auto made_there = [&](const std::string& name) {
    return std::ranges::find(older.makes, name) != older.makes.end();
  };
  return std::ranges::any_of(makes, made_there) || std::ranges::any_of(replaces, made_there);
}

PushTargets push_targets(const proto::OpenTransfer& open, bool destination_is_directory) {
  PushTargets targets;
  const auto destination = path::SafePath::parse_absolute(open.destination());
  if (!destination || open.direction() != proto::PUSH) return targets;
  const bool inside = open.destination_is_container() || destination_is_directory;
  for (const auto& root : open.roots()) {
    if (!inside) {
      targets.makes.push_back(destination->text());
    } else if (!root.contents()) {
      if (const auto name = path::Component::parse(root.name()); name)
        targets.makes.push_back(destination->child(*name).text());
    }
  }
  if (!open.destination_is_container() && open.overwrite() != proto::NEVER)
    targets.replaces.push_back(destination->text());
  return targets;
}

}  // namespace penstock::control
