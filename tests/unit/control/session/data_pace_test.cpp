#include "control/session/data_pace.h"

#include <doctest/doctest.h>

namespace penstock::control {
namespace {

using namespace std::chrono_literals;

/// Two seconds of frames into a channel of `rate` bytes a second; `asked` of them are wanted, the rest of the time is
/// idle.
void run(DataPace& pace, std::uint64_t rate, std::uint64_t asked, DataPace::Time now = DataPace::Time{1s}) {
  std::chrono::nanoseconds idle{};
  const auto end = now + 2s;
  while (now < end) {
    const std::size_t frame = pace.frame_max();
    const auto takes = std::chrono::nanoseconds{frame * 1'000'000'000 / rate};
    const auto due = std::chrono::nanoseconds{frame * 1'000'000'000 / asked};
    idle = due > takes ? due - takes : 0ns;
    now += takes + idle;
    pace.on_written(now, frame, idle > 0ns ? 0ns : takes);
  }
}

}  // namespace

TEST_CASE("data pace: a fast channel gets whole messages and a long run") {
  DataPace pace;
  run(pace, 500'000'000, 500'000'000);
  CHECK(pace.ahead_max() == DataPace::ahead_most);
  CHECK(pace.frame_max() == engine::stream_payload_usual);
}

TEST_CASE("data pace: on a slow channel no message waits longer than a tenth of a second or so behind bulk") {
  DataPace pace;
  run(pace, 1'000'000, 1'000'000);
  CHECK(pace.ahead_max() == DataPace::ahead_least);
  CHECK(pace.frame_max() >= 40'000);
  CHECK(pace.frame_max() <= 50'000);
  DataPace slower;
  run(slower, 20'000, 20'000);
  CHECK(slower.frame_max() == DataPace::frame_least);
}

TEST_CASE("data pace: a slow source does not make the channel look slow") {
  DataPace pace;
  run(pace, 500'000'000, 1'000'000);
  CHECK(pace.frame_max() == engine::stream_payload_usual);
}

TEST_CASE("data pace: a channel that gets slower is noticed") {
  DataPace pace;
  run(pace, 500'000'000, 500'000'000);
  run(pace, 100'000, 100'000, DataPace::Time{4s});
  CHECK(pace.ahead_max() == DataPace::ahead_least);
  CHECK(pace.frame_max() <= 5'000);
}

}  // namespace penstock::control
