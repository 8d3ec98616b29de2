#pragma once

namespace penstock {

/// Prints the broken invariant with its place on stderr and aborts.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace penstock

/// A broken invariant of ours: aborts in every build, so that what follows may rely on it. Never for what a peer,
/// the network, the machine or the user can cause.
#define PENSTOCK_CHECK(condition) \
  (static_cast<bool>(condition) ? void(0) : ::penstock::check_failed(#condition, __FILE__, __LINE__))

/// A place that no correct program reaches, such as the end of a switch over every enumerator; says what was believed.
#define PENSTOCK_UNREACHABLE(belief) ::penstock::check_failed(belief, __FILE__, __LINE__)
