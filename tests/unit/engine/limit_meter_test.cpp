#include "dataplane/engine/lane/limit_meter.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "dataplane/engine/blank_windows.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {
namespace {

/// A meter that is told the same sequence of states again and again.
struct Sequence {
  struct Step {
    SenderLimit state;
    Duration lasts;
    std::optional<Duration> until = std::nullopt;
  };
  LimitMeter meter;
  TimePoint now{};

  SenderLimit repeat(const std::vector<Step>& steps, Duration time = 2 * LimitMeter::window) {
    for (const TimePoint end = now + time; now < end;) {
      for (const Step& step : steps) {
        if (step.state == SenderLimit::sender_cpu)
          meter.on_busy(now);
        else
          meter.on_blocked(now, step.state,
                           step.until ? std::optional<TimePoint>{now + *step.until} : std::optional<TimePoint>{});
        now += step.lasts;
      }
    }
    return meter.limit();
  }
};

using enum SenderLimit;

}  // namespace

TEST_CASE("limit: who seals without ever catching up is held back by its own processor") {
  CHECK(Sequence{}.repeat({{sender_cpu, 50us}}) == sender_cpu);
  // Now and then something else stops it for a moment: little would be gained without.
  CHECK(Sequence{}.repeat({{sender_cpu, 19ms}, {source, 1ms}}) == sender_cpu);
}

TEST_CASE("limit: who catches up again and again is held back by what it catches up with, busy or not") {
  for (const SenderLimit why : {source, cwnd, receiver_credit, receiver_cpu, pacing}) {
    CAPTURE(static_cast<int>(why));
    CHECK(Sequence{}.repeat({{sender_cpu, 800us}, {why, 200us}}) == why);
  }
}

TEST_CASE("limit: a window stands before the pacer that spreads it") {
  CHECK(Sequence{}.repeat({{pacing, 800us}, {cwnd, 200us}}) == cwnd);
  CHECK(Sequence{}.repeat({{pacing, 800us}, {cwnd, 50us}}) == pacing);
}

TEST_CASE("limit: a thread that comes late for the pacer's moment is its own limit, one that comes in time is not") {
  CHECK(Sequence{}.repeat({{pacing, 1ms, 20us}}) == sender_cpu);
  CHECK(Sequence{}.repeat({{pacing, 1ms, 900us}}) == pacing);
}

TEST_CASE("limit: it is told before the first window is over, and follows what changes") {
  Sequence sequence;
  CHECK(sequence.meter.limit() == nothing_to_send);
  CHECK(sequence.repeat({{cwnd, 1ms}}, 10ms) == cwnd);
  CHECK(sequence.repeat({{receiver_credit, 1ms}}) == receiver_credit);
  CHECK(sequence.repeat({{sender_cpu, 1ms}}) == sender_cpu);
  CHECK(sequence.repeat({{nothing_to_send, 1ms}}) == nothing_to_send);
}

/// When the sender's thread has its processor.
struct Presence {
  Duration away{};  // in each 100 ms
  Duration late{};  // each time that it wakes
};

/// At a fixed rate, on a processor that takes 8 ns for a byte: 1 Gbit/s at best.
SenderLimit limit_at(std::uint64_t megabits, const Presence& thread = {}) {
  SenderConfig config{.congestion = Congestion::fixed,
                      .rate = DataRate::megabits_per_second(megabits),
                      .initial_rtt = 1s,  // a window that is never the limit, without acknowledgements
                      .initial_credit = 4 * GiB};
  Sender sender{config, make_keys().sender, Rng{1}};
  BlankSource source;
  std::vector<std::byte> buffer(udp_payload_limit);
  TimePoint now{};
  TimePoint away_at{100ms};
  sender.open_path(now);
  sender.offer({4 * GiB});
  while (now < TimePoint{} + 4 * LimitMeter::window) {
    if (now >= away_at) {
      now += thread.away;
      away_at += 100ms;
    }
    if (const auto out = sender.poll_transmit(now, source, buffer))
      now += static_cast<Duration::rep>(out->size) * 8ns;
    else
      now = std::max(now, sender.poll_timeout().value_or(now + 1ms)) + thread.late;
  }
  return sender.stats().limit;
}

TEST_CASE("limit: a sender whose thread is too slow for its rate says sender_cpu, one that keeps up says pacing") {
  CHECK(limit_at(100) == SenderLimit::pacing);
  CHECK(limit_at(800) == SenderLimit::pacing);
  CHECK(limit_at(2'000) == SenderLimit::sender_cpu);  // not a whole batch in the pacer's bucket
  CHECK(limit_at(5'000) == SenderLimit::sender_cpu);
}

TEST_CASE("limit: a thread that is late, and keeps the rate by what it has banked, is not its own limit") {
  CHECK(limit_at(16, {.away = 24ms, .late = 300us}) == SenderLimit::pacing);
  CHECK(limit_at(16, {.away = 20ms, .late = 400us}) == SenderLimit::pacing);
  CHECK(limit_at(100, {.away = 18ms}) == SenderLimit::pacing);
  CHECK(limit_at(100, {.away = 95ms}) == SenderLimit::sender_cpu);
  CHECK(limit_at(100, {.late = 5ms}) == SenderLimit::sender_cpu);
}

}  // namespace penstock::engine::test
