#include "control/session/silence_meter.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace penstock::control {
namespace {

using namespace std::chrono_literals;

constexpr Duration idle = 2s;

/// Looks when the meter wants to be looked at, as SessionLink does.
struct Looks {
  SilenceMeter meter;
  SilenceMeter::Time now{};
  int count = 0;

  explicit Looks() { meter.on_look(now, true); }
  void look_for(Duration span, bool listening = true) {
    for (const auto end = now + span; now < end; ++count) {
      now = std::min(end, now + meter.plan_look(idle));
      meter.on_look(now, listening);
    }
  }
};

TEST_CASE("silence meter: silence is what passed since the last word") {
  Looks looks;
  looks.look_for(4s);
  CHECK(looks.meter.silent_for() == 4s);
  looks.meter.on_heard(looks.now);
  CHECK(looks.meter.silent_for() == 0s);
  looks.look_for(5s);
  CHECK(looks.meter.silent_for() == 5s);
}

TEST_CASE("silence meter: a word between two looks is where silence begins") {
  Looks looks;
  looks.meter.on_heard(looks.now);
  const auto away = looks.meter.plan_look(idle);
  CHECK(away == idle);
  looks.meter.on_heard(looks.now + 1500ms);
  looks.now += away;
  looks.meter.on_look(looks.now, true);
  CHECK(looks.meter.silent_for() == 500ms);
}

TEST_CASE("silence meter: who is heard every two seconds is looked at as seldom, and who is silent soon again") {
  Looks looks;
  looks.count = 0;
  for (int i = 0; i < 30; ++i) {
    looks.meter.on_heard(looks.now);
    looks.look_for(2s);
  }
  CHECK(looks.count == 30);
  looks.count = 0;
  looks.look_for(3s);
  CHECK(looks.count == 12);
}

TEST_CASE("silence meter: a thread that was held up for ten seconds has heard no more silence than it had planned") {
  Looks looks;
  looks.now += 10s;
  looks.meter.on_look(looks.now, true);
  CHECK(looks.meter.silent_for() == SilenceMeter::look_every + SilenceMeter::late_max);
  looks.meter.on_heard(looks.now);
  (void)looks.meter.plan_look(idle);
  looks.now += 10s;
  looks.meter.on_look(looks.now, true);
  CHECK(looks.meter.silent_for() == idle + SilenceMeter::late_max);
}

TEST_CASE("silence meter: while nobody listens nothing counts") {
  Looks looks;
  looks.look_for(1s);
  looks.look_for(60s, false);
  CHECK(looks.meter.silent_for() == 1s);
}

}  // namespace
}  // namespace penstock::control
