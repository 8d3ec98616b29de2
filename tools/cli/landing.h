#pragma once

#include <span>
#include <string>
#include <string_view>

#include "common/result.h"
#include "control/client/client.h"

namespace penstock::tools {

/// Where each source lands, told from the words alone (CLI.md section 2), so that the same command again means the
/// same. Paths come out without trailing slashes and without a final `/.`; a source that is written so has `contents`.
/// A last name is empty where the word has none of its own (`/`, `..`), which only matters inside a container. USAGE
/// when several sources do not get a container, when two have one last name, when a name is needed and the word has
/// none (`/`, `..`), for empty words and for `-`, whose pipe comes later. Pure.
Result<control::TransferWords> plan_landing(std::span<const std::string> sources, std::string_view destination);

/// An absolute remote path without `.`, `..`, doubled or trailing slashes. Below a grant no link is ever followed, so
/// `..` may be resolved by words. PATH_REFUSED when it climbs above `/`, holds a NUL, or has a component or total
/// length beyond what any file system takes.
Result<std::string> normal_remote_path(std::string_view path);

}  // namespace penstock::tools
