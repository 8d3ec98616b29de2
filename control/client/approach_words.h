#pragma once

#include <optional>

#include "common/error.h"
#include "common/time.h"
#include "control/client/client.h"

namespace penstock::control {

// Of the gate's own time (gate_timeout), which runs from accept to proof: from TLS hello to Finished and our hello, and
// from there over the wrap to our proof.
inline constexpr int gate_round_trips = 2;

/// What was seen of the way to a daemon until it let us in: the words of a failure go by it.
struct WayThere {
  /// Of TCP's own handshake; behind a proxy that answers for the daemon it is the way to the proxy.
  std::optional<Duration> rtt;
  /// The gate's own time ran out before what --connect-timeout left.
  bool gate_time_rules = false;
};

/// Errors of a channel know neither the daemon nor the way out: of one that did not prove itself yet. Whose round trips
/// are too long for the gate hears that, and not that waiting longer would help.
Error named(const ClientConfig& config, Error error, const WayThere& way);

}  // namespace penstock::control
