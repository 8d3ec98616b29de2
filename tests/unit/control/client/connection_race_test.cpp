#include "control/client/connection_race.h"

#include <doctest/doctest.h>

#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <string>
#include <vector>

namespace penstock::control::test {
namespace {

using namespace std::chrono_literals;

constexpr auto never = std::chrono::hours{1};

/// What the attempts do, in the order in which they begin: wait so long, then come to this.
struct Script {
  Duration wait;
  Result<int> result;
};

struct Course {
  std::size_t begun = 0;
  std::size_t ended = 0;  // however they did
  std::optional<Result<int>> outcome;
};

/// Counts an attempt as ended when its frame goes.
struct Presence {
  explicit Presence(Course& shown) : course(shown) { ++course.begun; }
  ~Presence() { ++course.ended; }
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;
  Course& course;
};

Course race(std::vector<Script> scripts) {
  Course course;
  asio::io_context io;
  const auto go = [&]() -> asio::awaitable<void> {
    std::function<asio::awaitable<Result<int>>()> attempt = [&]() -> asio::awaitable<Result<int>> {
      const Script script = scripts.at(course.begun);
      const Presence presence{course};
      asio::steady_timer timer{co_await asio::this_coro::executor, script.wait};
      co_await timer.async_wait(asio::use_awaitable);
      co_return script.result;
    };
    course.outcome = co_await async_race<int>(scripts.size(), std::move(attempt));
    CHECK(course.ended == course.begun);  // whatever they borrow may go now
  };
  asio::co_spawn(io, go, asio::detached);
  io.run();
  REQUIRE(course.outcome);
  return course;
}

Error lost() { return {ErrorCode::PEER_LOST, "lost"}; }
Error wrong_key() { return {ErrorCode::PIN_MISMATCH, "another key"}; }

}  // namespace

TEST_CASE("race: one attempt below 3 % of loss, two from there, three from 10 %") {
  CHECK(race_attempts(0) == 1);
  CHECK(race_attempts(29) == 1);
  CHECK(race_attempts(30) == 2);
  CHECK(race_attempts(99) == 2);
  CHECK(race_attempts(100) == 3);
  CHECK(race_attempts(1000) == 3);
}

TEST_CASE("race: a single attempt is what it comes to") {
  CHECK(race({{0ms, 7}}).outcome->value() == 7);
  CHECK(race({{0ms, lost()}}).outcome->error().code == ErrorCode::PEER_LOST);
}

TEST_CASE("race: the first that is through is taken, and the others have ended") {
  const auto course = race({{never, 1}, {5ms, 2}, {never, 3}});
  CHECK(course.outcome->value() == 2);
}

TEST_CASE("race: what is through at once leaves the others unbegun") {
  const auto course = race({{0ms, 1}, {never, 2}, {never, 3}});
  CHECK(course.outcome->value() == 1);
  CHECK(course.begun <= 2);
}

TEST_CASE("race: a connection that breaks off does not end it while another is under way") {
  const auto course = race({{0ms, lost()}, {30ms, 2}});
  CHECK(course.outcome->value() == 2);
  CHECK(course.begun == 2);
}

TEST_CASE("race: an attempt that found no place leaves the others their chance") {
  const auto course = race({{0ms, Error{ErrorCode::SERVER_BUSY, "full"}}, {30ms, 2}});
  CHECK(course.outcome->value() == 2);
}

TEST_CASE("race: a refusal ends it: the others would hear the same") {
  const auto course = race({{0ms, wrong_key()}, {never, 2}, {never, 3}});
  CHECK(course.outcome->error().code == ErrorCode::PIN_MISMATCH);
}

TEST_CASE("race: when none is through, its error is an attempt's") {
  const auto course = race({{0ms, lost()}, {0ms, lost()}, {0ms, lost()}});
  CHECK(course.outcome->error().code == ErrorCode::PEER_LOST);
  CHECK(course.begun == 3);
}

}  // namespace penstock::control::test
