#pragma once

#include <asio/awaitable.hpp>
#include <optional>

#include "common/result.h"
#include "common/time.h"
#include "control/client/client.h"
#include "control/client/connection.h"
#include "control/client/questions.h"
#include "dataplane/io/worker.h"

namespace penstock::control {

/// Measures the way to the daemon of this session: the control channel's round trip, then by a probe (OpenProbe)
/// whether UDP gets through, the path's MTU, rate and loss; and says what makes either end fast. What could not be
/// measured is left out, and `unmeasured` says why: an error is the session's own, or the daemon's refusal to answer at
/// all. `timeout` bounds the probe, which ends by itself within half a minute. Takes the session's lane keys. The
/// worker is the caller's and outlives the call. Threads: the session's.
asio::awaitable<Result<PingAnswer>> async_measure_way(Questions& questions, OpenedSession& opened, io::Worker& worker,
                                                      std::optional<Duration> timeout);

}  // namespace penstock::control
