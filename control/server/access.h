#pragma once

#include <span>
#include <string>
#include <string_view>

#include "common/path/safe_path.h"
#include "common/result.h"
#include "control/registry/grant.h"

namespace penstock::control {

enum class Extent : std::uint8_t { itself, tree };

/// Judges a path of a request by the client's grants, and gives it as storage takes it. Pure.
/// Errors: PATH_REFUSED or NAME_TOO_LONG for what is no path; PERMISSION_DENIED when the grants do not allow it. With
/// `tree` a narrower grant beneath the path that takes the operation away refuses the whole: nothing is half done.
Result<path::SafePath> allowed_path(std::span<const Grant> grants, std::string_view path, Operation operation,
                                    Extent extent);

/// The same for a path already taken apart, such as a name inside a destination.
Status check_allowed(std::span<const Grant> grants, const path::SafePath& path, Operation operation, Extent extent);

}  // namespace penstock::control
