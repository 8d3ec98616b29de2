#include "control/session/silence_meter.h"

#include <doctest/doctest.h>

namespace penstock::control {
namespace {

using namespace std::chrono_literals;

/// Looks every 250 ms, as SessionLink does.
struct Looks {
  SilenceMeter meter;
  SilenceMeter::Time now{};

  explicit Looks() { meter.on_look(now, true); }
  void look_for(Duration span, bool listening = true) {
    for (const auto end = now + span; now < end;) {
      now += 250ms;
      meter.on_look(now, listening);
    }
  }
};

TEST_CASE("silence meter: silence is what passed since the last word") {
  Looks looks;
  looks.look_for(4s);
  CHECK(looks.meter.silent_for() == 4s);
  looks.meter.on_heard();
  CHECK(looks.meter.silent_for() == 0s);
  looks.look_for(5s);
  CHECK(looks.meter.silent_for() == 5s);
}

TEST_CASE("silence meter: a thread that was held up for ten seconds has heard half a second of silence") {
  Looks looks;
  looks.now += 10s;
  looks.meter.on_look(looks.now, true);
  CHECK(looks.meter.silent_for() == SilenceMeter::look_max);
}

TEST_CASE("silence meter: while nobody listens nothing counts") {
  Looks looks;
  looks.look_for(1s);
  looks.look_for(60s, false);
  CHECK(looks.meter.silent_for() == 1s);
}

}  // namespace
}  // namespace penstock::control
