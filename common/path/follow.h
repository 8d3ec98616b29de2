#pragma once

#include <functional>

#include "common/path/safe_path.h"
#include "common/result.h"

namespace penstock::path {

// As many as Linux follows in one path (path_resolution(7)); whoever has more has a loop, or means harm.
inline constexpr unsigned links_followed_max = 40;

/// What links may be followed within, where the words of a command ask to follow them.
struct FollowBounds {
  SafePath scope;                               // no link leads above or beside it, not even to come back
  std::function<bool(const SafePath&)> covers;  // of paths beneath scope, which may be reached; empty: all of them
};

/// Where `rest` leads from the directory `start`, both beneath `base_fd`: a path without a link, as it was when it was
/// looked at. Whoever opens it follows no link any more (open_directory_beneath), so that a link put there since is
/// refused: what is opened is what was judged. Links in `start` itself are refused, those of `rest` are followed by
/// hand, because the kernel's way (openat2 with RESOLVE_BENEATH) does not tell the path that it took, and `bounds`
/// judges paths.
/// Errors carry the path of the whole: PATH_REFUSED for a link that is absolute, leads out of `bounds`, or goes round
/// in a circle; NOT_FOUND and so on for what is not there. What `bounds` does not cover is refused alike whether it
/// exists or not.
[[nodiscard]] Result<SafePath> follow_beneath(int base_fd, const SafePath& start, const SafePath& rest,
                                              const FollowBounds& bounds);

/// What follow_beneath says of a link that leads out of its bounds; `path` begins the sentence.
[[nodiscard]] Error leads_out(const std::string& path);

}  // namespace penstock::path
