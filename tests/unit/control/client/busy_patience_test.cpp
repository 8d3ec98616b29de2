#include "control/client/busy_patience.h"

#include <doctest/doctest.h>

#include <vector>

namespace penstock::control {
namespace {

using namespace std::chrono_literals;
using Time = BusyPatience::Clock::time_point;

const Error busy{ErrorCode::SERVER_BUSY, "the daemon runs as many transfers as it may; try again later"};

struct Course {
  std::vector<Duration> pauses;
  Duration lasted{};
  Error last_word;
};

/// A daemon that never has room, and attempts that take so long.
Course against_a_full_daemon(Duration connect_timeout, Duration attempt, std::uint64_t seed) {
  const Time begin{1h};
  Time now = begin;
  BusyPatience patience{now, connect_timeout, Rng{seed}};
  Course course;
  for (;;) {
    now += std::chrono::duration_cast<BusyPatience::Clock::duration>(attempt);
    const auto pause = patience.on_failed(busy, now);
    if (!pause) break;
    course.pauses.push_back(*pause);
    now += std::chrono::duration_cast<BusyPatience::Clock::duration>(*pause);
  }
  course.lasted = now - begin;
  course.last_word = patience.last_word(busy);
  return course;
}

}  // namespace

TEST_CASE("busy patience: pauses grow to their bound, and all of it stays within the time that is allowed") {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const auto course = against_a_full_daemon(60s, 10ms, seed);
    Duration bound = busy_pause_first;
    for (const Duration pause : course.pauses) {
      CHECK(pause <= bound);
      CHECK(pause >= bound / 2);
      bound = std::min(2 * bound, busy_pause_last);
    }
    CHECK(course.pauses.back() >= busy_pause_last / 2);
    CHECK(course.lasted <= 60s);
    CHECK(course.lasted > 60s - busy_pause_last - busy_attempt_min);
    CHECK(course.pauses.size() < 40);
  }
}

TEST_CASE("busy patience: those who are turned away together do not come back together") {
  const auto one = against_a_full_daemon(15s, 10ms, 1);
  const auto other = against_a_full_daemon(15s, 10ms, 2);
  CHECK(one.pauses.front() != other.pauses.front());
}

TEST_CASE("busy patience: with no time for another attempt the first is the last, and is told as it came") {
  const auto course = against_a_full_daemon(200ms, 10ms, 7);
  CHECK(course.pauses.empty());
  CHECK(course.last_word.message == busy.message);
}

TEST_CASE("busy patience: the last word says how often the daemon was asked, and what helps") {
  const auto course = against_a_full_daemon(15s, 10ms, 7);
  CHECK(course.last_word.code == ErrorCode::SERVER_BUSY);
  CHECK(course.last_word.message.find("the daemon runs as many transfers as it may (so it said " +
                                      std::to_string(course.pauses.size() + 1) + " times)") == 0);
  CHECK(course.last_word.message.find("--connect-timeout") != std::string::npos);
  CHECK(BusyPatience::reason_of(busy) == "the daemon runs as many transfers as it may");
}

TEST_CASE("busy patience: any other word is the last, as it came") {
  const Time now{1h};
  BusyPatience patience{now, 15s, Rng{1}};
  CHECK(patience.on_failed(busy, now));
  const Error refused{ErrorCode::AUTH_FAILED, "no"};
  CHECK(!patience.on_failed(refused, now));
  CHECK(patience.last_word(refused).message == "no");
}

TEST_CASE("busy patience: a daemon that was busy and then does not answer in what time is left is still told as busy") {
  const Time now{1h};
  for (const auto code : {ErrorCode::TIMED_OUT, ErrorCode::CONNECT_REFUSED}) {
    CAPTURE(static_cast<int>(code));
    const Error unanswered{code, "no answer"};
    BusyPatience patience{now, 15s, Rng{1}};
    CHECK(patience.last_word(unanswered) == unanswered);
    CHECK(patience.on_failed(busy, now));
    CHECK(!patience.on_failed(unanswered, now + 15s));
    CHECK(patience.last_word(unanswered) == busy);
    CHECK(patience.on_failed(busy, now));
    CHECK(!patience.on_failed(unanswered, now + 1s));  // it had time: this is news
    CHECK(patience.last_word(unanswered) == unanswered);
    CHECK(!patience.on_failed(unanswered, now + 15s));
    CHECK(patience.last_word(unanswered).message.find("(so it said 2 times)") != std::string::npos);
    const Error theirs{code, "a word of its own", {}, ErrorSide::remote};
    CHECK(patience.last_word(theirs) == theirs);
  }
}

TEST_CASE("busy patience: an attempt has what is left of the time, and never none") {
  const Time now{1h};
  const BusyPatience patience{now, 15s, Rng{1}};
  CHECK(patience.left(now) == 15s);
  CHECK(patience.left(now + 10s) == 5s);
  CHECK(patience.left(now + 20s) == 1ms);
}

}  // namespace penstock::control
