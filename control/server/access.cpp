#include "control/server/access.h"

#include "common/escape.h"

namespace penstock::control {
namespace {

std::string_view verb(Operation operation) {
  switch (operation) {
    case Operation::read:
      return "read";
    case Operation::list:
      return "list";
    case Operation::create:
      return "create";
    case Operation::modify:
      return "change";
  }
  return "use";
}

Error denied(const path::SafePath& path, Operation operation) {
  return {ErrorCode::PERMISSION_DENIED,
          "your grants do not let you " + std::string{verb(operation)} + " " +
              escape_for_display(path.absolute_text()) +
              "; `penstock ls HOST:/` shows what is granted, the operator "
              "can grant more",
          path.absolute_text()};
}

}  // namespace

Status check_allowed(std::span<const Grant> grants, const path::SafePath& path, Operation operation, Extent extent) {
  if (!allows(grants, path, operation)) return denied(path, operation);
  if (extent == Extent::itself) return {};
  for (const auto& grant : grants)
    if (path.contains(grant.path) && !allows(grants, grant.path, operation)) return denied(grant.path, operation);
  return {};
}

Result<path::SafePath> allowed_path(std::span<const Grant> grants, std::string_view path, Operation operation,
                                    Extent extent) {
  auto parsed = path::SafePath::parse_absolute(path);
  if (!parsed) return parsed.error();
  if (auto status = check_allowed(grants, *parsed, operation, extent); !status) return status.error();
  return parsed;
}

}  // namespace penstock::control
