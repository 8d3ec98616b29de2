#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/path/safe_path.h"
#include "common/result.h"

namespace penstock::control {

/// What a grant lets its holder do. `w` is a drop box: create only, nothing read, listed, replaced or removed.
enum class GrantMode : std::uint8_t { read, read_write, drop_box };

/// What a request needs from the path that it names.
enum class Operation : std::uint8_t {
  read,    // pull, digest
  list,    // ls, stat
  create,  // a new file or directory: push, mkdir
  modify,  // replace, rename away, remove
};

/// `r|rw|w:/PATH`: everything at and below one path of the daemon's tree. Pure; meets no file system.
struct Grant {
  GrantMode mode = GrantMode::read;
  path::SafePath path;  // the root path: everything

  bool operator==(const Grant&) const = default;
};

// Together they keep a client's whole list within one control message.
inline constexpr std::size_t grants_max = 128;       // of one client or token
inline constexpr std::size_t grant_path_max = 4096;  // bytes, as PATH_MAX

/// Reads "rw:/projects". USAGE, with the way out, when it is something else.
Result<Grant> parse_grant(std::string_view text);
/// The inverse; raw bytes, so escape before printing.
std::string to_string(const Grant& grant);

/// The grant that decides about `path`: the one with the longest matching prefix, component by component; among equal
/// ones the most generous (rw, then r, then w). nullptr when none covers it. Borrowed from `grants`.
const Grant* covering_grant(std::span<const Grant> grants, const path::SafePath& path);

/// May the holder of `grants` do `operation` on `path`? The covering grant alone decides, so that a narrower grant
/// can also take away: `rw:/` with `r:/archive` leaves /archive read-only.
bool allows(std::span<const Grant> grants, const path::SafePath& path, Operation operation);

/// Is `path` itself the root of a grant? Those are never removed or renamed.
bool is_grant_root(std::span<const Grant> grants, const path::SafePath& path);

/// Names to show under `path` when no readable grant covers it but some grants lie beneath ("ls /" shows only what is
/// granted): the next components on the way to those grants, ascending, each once. Empty when nothing is granted there.
std::vector<std::string> visible_children(std::span<const Grant> grants, const path::SafePath& path);

}  // namespace penstock::control
