#pragma once

#include <cstdint>
#include <optional>

#include "common/units.h"

namespace penstock::engine {

/// What Congestion::measure knows of its path so far.
struct PathReport {
  /// Nothing more is sent, and all that was is known to have arrived or to be lost. Until then `packets` still grows.
  bool finished = false;
  /// The fastest that arrived for two round trips at least, in bits of IP packets.
  std::optional<DataRate> rate;
  /// What became of the packets sent at well below that rate, so that our own overload lost none of them.
  std::uint64_t packets = 0;  // arrived or lost
  std::uint64_t packets_lost = 0;

  bool operator==(const PathReport&) const = default;
};

/// What a controller that fills paths takes this one to carry: worth remembering for the next transfer.
struct PathEstimate {
  DataRate rate;        // bits of IP packets; what is lost by chance is part of it
  bool filled = false;  // the path was filled once: it is no more than that. Else there may be more
  bool operator==(const PathEstimate&) const = default;
};

}  // namespace penstock::engine
