#include "control/client/approach_words.h"

#include <fmt/format.h>

#include <chrono>
#include <string>

#include "common/escape.h"
#include "control/client/approach.h"
#include "control/gate/tls_channel.h"

namespace penstock::control {
namespace {

std::string seconds_of(Duration time) { return fmt::format("{:.3g} s", std::chrono::duration<double>(time).count()); }

bool is_too_far(const WayThere& way) { return way.rtt && gate_round_trips * *way.rtt >= gate_timeout; }

}  // namespace

Error named(const ClientConfig& config, Error error, const WayThere& way) {
  const std::string shown = escape_for_display(shown_address(config), 300);
  const bool broke_off = error.code == ErrorCode::PEER_LOST;
  const bool unanswered = error.code == ErrorCode::TIMED_OUT && error.side == ErrorSide::local;
  if ((broke_off || unanswered) && is_too_far(way))
    return {ErrorCode::TIMED_OUT, shown + " is too far away: a round trip takes " + seconds_of(*way.rtt) +
                                      ", and penstockd hangs up on who is not let in after " +
                                      seconds_of(gate_timeout) + ", in which there have to be " +
                                      std::to_string(gate_round_trips) + "; a longer --connect-timeout does not help"};
  if (broke_off)
    error.message = shown + " broke off before it let us in (" + error.message +
                    "); is it being restarted? run the same command again";
  if (unanswered)
    error.message =
        shown + " took the connection but did not answer in time; is it penstockd that listens there? " +
        (way.gate_time_rules ? "it has " + seconds_of(gate_timeout) + " to let us in, and is perhaps too busy"
                             : "--connect-timeout allows more");
  return error;
}

}  // namespace penstock::control
