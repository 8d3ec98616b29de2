#include "control/registry/grant.h"

#include <set>

namespace penstock::control {
namespace {

// Most generous first: which of several grants on one path decides.
int generosity(GrantMode mode) {
  switch (mode) {
    case GrantMode::read_write:
      return 2;
    case GrantMode::read:
      return 1;
    case GrantMode::drop_box:
      return 0;
  }
  return 0;
}

std::string_view prefix_of(GrantMode mode) {
  switch (mode) {
    case GrantMode::read_write:
      return "rw:";
    case GrantMode::read:
      return "r:";
    case GrantMode::drop_box:
      return "w:";
  }
  return "";
}

}  // namespace

Result<Grant> parse_grant(std::string_view text) {
  for (const auto mode : {GrantMode::read_write, GrantMode::read, GrantMode::drop_box}) {
    const auto prefix = prefix_of(mode);
    if (!text.starts_with(prefix)) continue;
    if (text.size() > prefix.size() + grant_path_max) return Error{ErrorCode::USAGE, "the path of a grant is too long"};
    auto path = path::SafePath::parse_absolute(text.substr(prefix.size()));
    if (!path) return Error{ErrorCode::USAGE, "the path of a grant can not be used: " + path.error().message};
    return Grant{.mode = mode, .path = *std::move(path)};
  }
  return Error{ErrorCode::USAGE, "a grant reads r:/PATH, rw:/PATH or w:/PATH, such as rw:/projects"};
}

std::string to_string(const Grant& grant) { return std::string{prefix_of(grant.mode)} + grant.path.absolute_text(); }

const Grant* covering_grant(std::span<const Grant> grants, const path::SafePath& path) {
  const Grant* best = nullptr;
  for (const auto& grant : grants) {
    if (!grant.path.contains(path)) continue;
    // All candidates are prefixes of one path, so the deeper one is the longer.
    if (best == nullptr || grant.path.depth() > best->path.depth() ||
        (grant.path.depth() == best->path.depth() && generosity(grant.mode) > generosity(best->mode)))
      best = &grant;
  }
  return best;
}

bool allows(std::span<const Grant> grants, const path::SafePath& path, Operation operation) {
  const Grant* grant = covering_grant(grants, path);
  if (grant == nullptr) return false;
  switch (grant->mode) {
    case GrantMode::read_write:
      return true;
    case GrantMode::read:
      return operation == Operation::read || operation == Operation::list;
    case GrantMode::drop_box:
      return operation == Operation::create;
  }
  return false;
}

bool is_grant_root(std::span<const Grant> grants, const path::SafePath& path) {
  for (const auto& grant : grants)
    if (grant.path == path) return true;
  return false;
}

std::vector<std::string> visible_children(std::span<const Grant> grants, const path::SafePath& path) {
  std::set<std::string> names;
  for (const auto& grant : grants) {
    if (!path.contains(grant.path) || grant.path == path) continue;
    names.emplace(grant.path.components()[path.depth()]);
  }
  return {names.begin(), names.end()};
}

}  // namespace penstock::control
