#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <thread>

#include "tests/unit/control/client/scene.h"

// A daemon in which something throws where nobody expects it, such as memory that can not be had. What throws here is
// its log, because that is called from every stage of a session.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

/// Who has to wait for a place hears so soon.
ClientConfig hasty(ClientConfig config) {
  config.connect_timeout = std::chrono::seconds{3};
  config.timeout = std::chrono::seconds{10};
  return config;
}

/// Pushes or pulls one file to a daemon with a single place, in which this event of its log throws once; then
/// another; then has the daemon stopped.
void check_nothing_is_lost(const std::string& event, bool push) {
  CAPTURE(event);
  CAPTURE(push);
  Daemon daemon{{"rw:/"}, [](ServerConfig& config) { config.transfers_max = 1; }};
  Person ann{daemon};
  TempDir work;
  write_file(work.path() / "a", random_bytes_text(100'000));
  write_file(daemon.root() / "b", random_bytes_text(100'000));
  // Leaves with its command, as the process does: neither the client nor the summary, which has the session, stays.
  const auto transfer = [&](const std::string& name) -> Status {
    Client client{hasty(ann.config(daemon)), ann.listener};
    const auto done = push ? client.push(to_target(work.path() / "a", "/" + name), {})
                           : client.pull({{{"/b", "b", false}}, (work.path() / name).string(), false}, {});
    return done ? Status{} : Status{done.error()};
  };
  daemon.observer().fail_once(event);
  (void)transfer("first");  // may well succeed: by a second session, or since all was done but the log's line
  const auto second = transfer("second");
  if (!second) FAIL_CHECK(second.error().message);
  CHECK(daemon.stops_by_itself());
  CHECK(daemon.observer().has_failed());
}

}  // namespace

TEST_CASE("daemon: an exception anywhere in a session costs neither a place for transfers nor the shutdown") {
  for (const auto* event : {"session_opened", "transfer_started", "transfer_ended", "session_closed"}) {
    check_nothing_is_lost(event, true);
    check_nothing_is_lost(event, false);
  }
}
