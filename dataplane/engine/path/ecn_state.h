#pragma once

#include <cstdint>
#include <string_view>

namespace penstock::engine {

/// What a lane marks. `tested`: no more than it takes to know the path, for who asks about that and heeds no marks.
enum class EcnUse : std::uint8_t { none, tested, heeded };
/// Whether what a lane marks ECT(0) may be: what it knows of its path. `off`: it heeds no marks, and sends none.
enum class EcnState : std::uint8_t { off, testing, unknown, capable, failed };
/// Why it failed.
enum class EcnFault : std::uint8_t {
  none,
  bleached,    // fewer marks arrived than marked packets
  rewritten,   // as ECT(1), which we send none of
  uncounted,   // the peer does not tell
  impossible,  // the peer tells of more than was sent
  black_hole,  // marked packets are lost, and others are not
  all_ce       // every packet is said to have met a queue, whatever we do
};
std::string_view to_string(EcnState state);
std::string_view to_string(EcnFault fault);

}  // namespace penstock::engine
