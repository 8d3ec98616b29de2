#include "dataplane/io/receive_share.h"

#include <doctest/doctest.h>

#include <chrono>
#include <vector>

#include "common/units.h"
#include "tests/printers.h"

namespace penstock::io {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t buffer = 8 * MiB;

/// A socket by which some lanes receive, epoch by epoch.
class SharedSocket {
 public:
  explicit SharedSocket(std::size_t lanes) : marks_(lanes) {}

  /// One epoch in which every lane receives `bytes`, and the socket drops so much.
  void pass_epoch(std::size_t bytes, std::uint64_t drops) {
    drops_ += drops;
    for (auto& mark : marks_) {
      now_ += ReceiveShare::epoch / static_cast<Duration::rep>(marks_.size());
      share_.on_read(now_, bytes, drops_);
      share_.on_lane(mark);
    }
  }
  [[nodiscard]] std::optional<std::uint64_t> window(Duration rtt_min = 0ms) const { return share_.window(rtt_min); }

 private:
  ReceiveShare share_{buffer};
  std::vector<ReceiveShare::Mark> marks_;
  TimePoint now_{1h};
  std::uint64_t drops_ = 0;
};

TEST_CASE("a socket that drops nothing holds nobody") {
  SharedSocket socket(50);
  for (int i = 0; i < 20; ++i) socket.pass_epoch(10 * MiB, 0);
  CHECK(!socket.window());
}

TEST_CASE("all windows together fit into the buffer of a socket that drops") {
  for (const std::size_t lanes : {2U, 10U, 50U}) {
    SharedSocket socket(lanes);
    socket.pass_epoch(1 * MiB, 0);
    socket.pass_epoch(1 * MiB, 1);
    const auto window = socket.window();
    REQUIRE(window);
    CHECK(*window * lanes <= buffer / ReceiveShare::buffer_divisor);
    CHECK(*window >= ReceiveShare::window_min);
  }
}

TEST_CASE("a lane that is alone is never held") {
  SharedSocket socket(1);
  for (int i = 0; i < 20; ++i) socket.pass_epoch(1 * MiB, 100);
  CHECK(!socket.window());
}

TEST_CASE("windows halve while the socket goes on dropping, but leave room for some datagrams") {
  SharedSocket socket(4);
  socket.pass_epoch(1 * MiB, 1);
  socket.pass_epoch(1 * MiB, 1);
  const auto first = socket.window();
  socket.pass_epoch(1 * MiB, 1);
  const auto second = socket.window();
  REQUIRE((first && second));
  CHECK(*second == *first / 2);
  for (int i = 0; i < 20; ++i) socket.pass_epoch(1 * MiB, 1);
  CHECK(socket.window() == ReceiveShare::window_min);
}

TEST_CASE("windows grow again without drops, and are lifted") {
  SharedSocket socket(20);
  for (int i = 0; i < 10; ++i) socket.pass_epoch(1 * MiB, 10);
  auto before = socket.window();
  int epochs = 0;
  for (; socket.window() && epochs < 200; ++epochs) {
    CHECK(*socket.window() >= *before);
    before = socket.window();
    socket.pass_epoch(1 * MiB, 0);
  }
  CHECK(!socket.window());
  CHECK(epochs > 20);
}

TEST_CASE("a lane on a long path keeps its share of the rate in flight") {
  SharedSocket socket(10);
  constexpr std::size_t bytes = 5 * MiB;
  for (int i = 0; i < 3; ++i) socket.pass_epoch(bytes, 1);
  const auto near = socket.window(0ms);
  const auto far = socket.window(250ms);
  REQUIRE((near && far));
  // In one round trip, which is as long as an epoch, it brings what it brought in an epoch.
  CHECK(*far - *near == doctest::Approx(bytes).epsilon(0.15));
}

TEST_CASE("lanes that went quiet leave their part to the others") {
  ReceiveShare share{buffer};
  std::vector<ReceiveShare::Mark> marks(40);
  TimePoint now{1h};
  std::uint64_t drops = 0;
  const auto pass_epoch = [&](std::size_t active) {
    now += ReceiveShare::epoch;
    share.on_read(now, MiB, ++drops);
    for (std::size_t i = 0; i < active; ++i) share.on_lane(marks[i]);
  };
  pass_epoch(40);
  pass_epoch(40);
  const auto of_many = share.window(0ms);
  pass_epoch(2);
  pass_epoch(2);
  const auto of_few = share.window(0ms);
  REQUIRE((of_many && of_few));
  CHECK(*of_few > *of_many);
}

}  // namespace
}  // namespace penstock::io
