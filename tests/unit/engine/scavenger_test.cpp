#include "dataplane/engine/congestion/scavenger.h"

#include <doctest/doctest.h>

#include <span>

#include "common/bytes/interval_set.h"

namespace penstock::engine {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t datagram = 1200;

/// A path of its own that carries whatever is sent, one round trip after another.
struct Rounds {
  void send() {
    first = next;
    next += scavenger.cwnd() / datagram;
    sent_at = now;
    scavenger.on_packets_sent(now, {next - 1}, (next - first) * datagram, (next - first) * datagram);
  }
  /// Of what was sent last, the first so many are lost, and the rest is acknowledged.
  void hear(std::uint64_t lost) {
    const bytes::Interval losses{first, first + lost};
    if (lost > 0)
      scavenger.on_packets_lost({.now = now,
                                 .newest_sent_at = sent_at,
                                 .next = {next},
                                 .packets = lost,
                                 .bytes = lost * datagram,
                                 .numbers = std::span{&losses, 1}});
    rtt.on_sample(40ms + queue, {});
    const bytes::Interval rest{first + lost, next};
    scavenger.on_packets_acked({.now = now,
                                .largest = {next - 1},
                                .largest_sent_at = sent_at,
                                .bytes = rest.size() * datagram,
                                .packets = rest.size(),
                                .rtt = 40ms + queue,
                                .numbers = std::span{&rest, 1}},
                               rtt);
  }
  void round(std::uint64_t lost = 0) {
    send();
    now += 40ms + queue;
    hear(lost);
  }

  RttEstimator rtt{40ms};
  Scavenger scavenger{datagram, 40ms};
  Duration queue{0};
  TimePoint now = TimePoint{} + 1s;
  TimePoint sent_at{};
  std::uint64_t first = 0;
  std::uint64_t next = 0;
};

TEST_CASE("scavenger: gives up a queue that may be its own, and half of all to one that stays") {
  Rounds path;
  for (int i = 0; i < 8; ++i) path.round();
  for (const Duration queue : {7ms, 0ms}) {  // which ends slow start
    path.queue = queue;
    path.round();
  }
  path.queue = 7ms;  // twice the target, a seventh of the round trip
  const std::uint64_t before = path.scavenger.cwnd();
  path.round();
  const std::uint64_t once = path.scavenger.cwnd();
  CHECK(once < before * 9 / 10);
  CHECK(once > before * 8 / 10);
  path.round();
  CHECK(path.scavenger.cwnd() <= once * 6 / 10);
}

TEST_CASE("scavenger: loss beyond what chance takes halves the window") {
  Rounds path;
  for (int i = 0; i < 8; ++i) path.round();
  const std::uint64_t before = path.scavenger.cwnd();
  path.round(path.scavenger.cwnd() / datagram / 8);
  CHECK(path.scavenger.cwnd() <= before * 3 / 4);
}

TEST_CASE("scavenger: what the receiver's socket drops is no loss of the path, but less is kept in flight") {
  Rounds path;
  for (int i = 0; i < 8; ++i) path.round();
  const std::uint64_t before = path.scavenger.cwnd();
  const std::uint64_t dropped = before / datagram / 8;
  path.scavenger.on_receiver_drops(dropped);
  path.round(dropped);
  CHECK(path.scavenger.cwnd() < before);
  CHECK(path.scavenger.cwnd() >= before * 7 / 8 - datagram);
  for (int i = 0; i < 10; ++i) path.round();
  CHECK(path.scavenger.cwnd() > before);
}

TEST_CASE("scavenger: what is lost beyond the receiver's drops is the path's") {
  Rounds path;
  for (int i = 0; i < 8; ++i) path.round();
  const std::uint64_t before = path.scavenger.cwnd();
  path.scavenger.on_receiver_drops(1);
  path.round(before / datagram / 2);
  CHECK(path.scavenger.cwnd() <= before * 3 / 4);
}

TEST_CASE("scavenger: an outage destroys nothing of the window") {
  Rounds path;
  for (int i = 0; i < 8; ++i) path.round();
  const std::uint64_t before = path.scavenger.cwnd();
  path.send();
  path.now += 10s;
  path.hear((path.next - path.first) - 1);  // a probe came through
  CHECK(path.scavenger.cwnd() >= before);
  for (int i = 0; i < 3; ++i) path.round();
  CHECK(path.scavenger.cwnd() >= before);
}

}  // namespace
}  // namespace penstock::engine
