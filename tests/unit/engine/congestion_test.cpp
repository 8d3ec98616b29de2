#include <doctest/doctest.h>

#include <initializer_list>
#include <optional>

#include "dataplane/engine/congestion/bbr.h"
#include "dataplane/engine/congestion/cubic.h"
#include "dataplane/engine/congestion/fixed.h"
#include "dataplane/engine/congestion/scavenger.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {
namespace {

constexpr std::uint64_t datagram = 1200;
// A window that fits no datagram, with nothing in flight, would stand still for ever.
TEST_CASE("congestion: datagrams that grow beyond the least window widen it") {
  Cubic cubic(datagram, 100ms, 64);
  Bbr bbr(datagram, 28, 100ms, Rng{1});
  Scavenger scavenger(datagram, 100ms);
  for (CongestionController* controller : std::initializer_list<CongestionController*>{&cubic, &bbr, &scavenger}) {
    controller->on_datagram_size(65'507);
    CHECK(controller->cwnd() >= 2 * 65'507);
  }
}

TimePoint at(Duration since_start) { return TimePoint{} + since_start; }

/// A path that carries whatever is sent, one round trip after another.
struct Rounds {
  explicit Rounds(Duration round_trip = 100ms) : rtt(round_trip), round(round_trip) {}

  /// Sends a full window and acknowledges it in `lumps` ACKs.
  void full_round(int lumps = 8, Duration sample = {}) {
    rtt.on_sample(sample == Duration{} ? round : sample, {});
    const std::uint64_t window = cubic.cwnd();
    const std::uint64_t packets = window / datagram;
    cubic.on_packets_sent(now, {next + packets - 1}, packets * datagram, packets * datagram);
    const TimePoint sent = now;
    now += round;
    for (int i = 1; i <= lumps; ++i) {
      const std::uint64_t largest =
          next + packets * static_cast<std::uint64_t>(i) / static_cast<std::uint64_t>(lumps) - 1;
      rtt.on_sample(sample == Duration{} ? round : sample, {});
      cubic.on_packets_acked({.now = now,
                              .largest = {largest},
                              .largest_sent_at = sent,
                              .bytes = packets * datagram / static_cast<std::uint64_t>(lumps)},
                             rtt);
    }
    next += packets;
  }
  void lose(std::uint64_t packets, TimePoint sent_at) {
    cubic.on_packets_lost(
        {.now = now, .newest_sent_at = sent_at, .next = {next}, .packets = packets, .bytes = packets * datagram});
  }

  void mark(TimePoint sent_at, bool begins = true) {
    cubic.on_packets_marked({.now = now, .newest_sent_at = sent_at, .next = {next}, .packets = 1, .begins = begins});
  }

  RttEstimator rtt;
  Duration round;
  Cubic cubic{datagram, 100ms};
  TimePoint now = at(1s);
  std::uint64_t next = 0;
};

}  // namespace

TEST_CASE("cubic: starts with 64 packets over one round trip, and doubles while nothing is lost") {
  Rounds path;
  CHECK(path.cubic.cwnd() == 64 * datagram);
  const RttEstimator unmeasured(100ms);
  CHECK(path.cubic.pacing_rate(unmeasured) == DataRate::bytes_per_second(64 * datagram * 10));
  for (int round = 1; round <= 4; ++round) {
    const std::uint64_t before = path.cubic.cwnd();
    path.full_round(round % 2 == 0 ? 1 : 8);  // in one lump or in many
    CHECK(path.cubic.cwnd() == 2 * before);
  }
}

TEST_CASE("cubic: one reduction to seven tenths for all losses of a round trip") {
  Rounds path;
  path.full_round();
  const std::uint64_t before = path.cubic.cwnd();
  path.lose(1, path.now - 50ms);
  CHECK(path.cubic.cwnd() == before * 7 / 10);
  path.lose(20, path.now - 10ms);
  CHECK(path.cubic.cwnd() == before * 7 / 10);
  path.now += 1ms;
  path.lose(1, path.now);  // sent after the reduction
  CHECK(path.cubic.cwnd() == before * 49 / 100);
}

TEST_CASE("cubic: losses that were all spurious leave no trace") {
  Rounds path;
  path.full_round();
  const std::uint64_t before = path.cubic.cwnd();
  const TimePoint sent = path.now - 50ms;
  path.lose(3, sent);
  path.cubic.on_spurious_loss(sent);
  path.cubic.on_spurious_loss(sent);
  CHECK(path.cubic.cwnd() < before);
  path.cubic.on_spurious_loss(sent);
  CHECK(path.cubic.cwnd() == before);
  CHECK(path.cubic.in_slow_start());
}

TEST_CASE("cubic: what a loss has taken is back after the cube root of three quarters of the packets, in seconds") {
  CHECK(cubic_recovery(0) == 0ms);
  CHECK(cubic_recovery(1) == 908ms);
  CHECK(cubic_recovery(1'000) == 9'085ms);
  CHECK(cubic_recovery(~std::uint64_t{0}) == cubic_recovery(1'000'000'000));
}

TEST_CASE("cubic: marks reduce the window once a round trip, in avoidance by less than a loss does") {
  Rounds path;
  path.full_round();
  const std::uint64_t before = path.cubic.cwnd();
  path.mark(path.now - 50ms);
  CHECK(path.cubic.cwnd() == before * 7 / 10);  // slow start was doubling
  path.mark(path.now - 10ms);
  CHECK(path.cubic.cwnd() == before * 7 / 10);
  path.now += 1ms;
  path.mark(path.now);  // sent after the reduction
  CHECK(path.cubic.cwnd() == before * 7 / 10 * 85 / 100);
  path.lose(1, path.now - 1ms);  // and a loss of the same round trip asks for no more
  CHECK(path.cubic.cwnd() == before * 7 / 10 * 85 / 100);
}

TEST_CASE("cubic: what marks took stays taken when losses beside them were spurious") {
  Rounds path;
  path.full_round();
  const TimePoint sent = path.now - 50ms;
  path.lose(1, sent);
  const std::uint64_t reduced = path.cubic.cwnd();
  path.mark(sent);
  path.cubic.on_spurious_loss(sent);
  CHECK(path.cubic.cwnd() == reduced);
}

TEST_CASE("cubic: marks that were none leave no trace") {
  Rounds path;
  path.full_round();
  const std::uint64_t before = path.cubic.cwnd();
  for (int i = 0; i < 6; ++i) {
    path.now += 100ms;
    path.mark(path.now - 50ms, i == 0);
  }
  CHECK(path.cubic.cwnd() < before / 2);
  path.cubic.on_marks_withdrawn(path.now);
  CHECK(path.cubic.cwnd() == before);
  CHECK(path.cubic.in_slow_start());
}

TEST_CASE("cubic: lanes hear of each other's marks") {
  Cubic first{datagram, 100ms, 2};
  Cubic second{datagram, 100ms, 2};
  const std::uint64_t before = second.cwnd();
  first.on_packets_marked({.now = at(2s), .newest_sent_at = at(1900ms), .next = {100}, .packets = 2, .begins = true});
  const auto news = first.take_news();
  REQUIRE(news);
  second.on_sibling_news(at(2s), *news);
  CHECK(second.cwnd() == before * 7 / 10);
  second.on_sibling_news(at(2001ms), *news);
  CHECK(second.cwnd() == before * 7 / 10);
}

TEST_CASE("cubic: comes back to the old window after K, flat around it, then probes beyond") {
  Rounds path;
  for (int i = 0; i < 4; ++i) path.full_round();
  const std::uint64_t peak = path.cubic.cwnd();
  path.lose(1, path.now - 1ms);
  // K = cbrt(0.3 x 1024 packets / 0.4) = 9.2 s (RFC 9438 section 4.2).
  const TimePoint reduced = path.now;
  std::optional<Duration> back;
  std::uint64_t last = path.cubic.cwnd();
  while (path.now < reduced + 14s) {
    path.full_round();
    CHECK(path.cubic.cwnd() >= last);
    last = path.cubic.cwnd();
    if (!back && last >= peak * 99 / 100) back = path.now - reduced;
  }
  REQUIRE(back);
  CHECK(*back > 6s);
  CHECK(*back < 10s);
  CHECK(last > peak + 35 * datagram);  // C (14 s - K)^3 = 45 packets
}

TEST_CASE("cubic: silence is no time in which the path was used") {
  Rounds path;
  for (int i = 0; i < 4; ++i) path.full_round();
  path.lose(1, path.now);
  for (int i = 0; i < 10; ++i) path.full_round();
  const std::uint64_t before = path.cubic.cwnd();
  path.now += 60s;
  path.full_round();
  path.full_round();
  CHECK(path.cubic.cwnd() >= before);
  CHECK(path.cubic.cwnd() <= before * 11 / 10);  // half as much again in each round trip, for minutes
}

TEST_CASE("cubic: a window that is not half used does not grow") {
  Rounds path;
  path.full_round();
  const std::uint64_t window = path.cubic.cwnd();
  for (int i = 0; i < 50; ++i) {
    path.cubic.on_packets_sent(path.now, {path.next}, datagram, window / 4);
    path.cubic.on_packets_acked(
        {.now = path.now, .largest = {path.next}, .largest_sent_at = path.now, .bytes = window / 4}, path.rtt);
    ++path.next;
  }
  CHECK(path.cubic.cwnd() <= window * 2);
  const std::uint64_t settled = path.cubic.cwnd();
  for (int i = 0; i < 50; ++i) {
    path.cubic.on_packets_sent(path.now, {path.next}, datagram, window / 4);
    path.cubic.on_packets_acked(
        {.now = path.now, .largest = {path.next}, .largest_sent_at = path.now, .bytes = window / 4}, path.rtt);
    ++path.next;
  }
  CHECK(path.cubic.cwnd() == settled);
}

TEST_CASE("cubic: never below its smallest window, however much is lost") {
  Rounds path;
  for (int i = 0; i < 100; ++i) {
    path.now += 1s;
    path.lose(10, path.now);
  }
  CHECK(path.cubic.cwnd() == window_min_packets * datagram);
}

TEST_CASE("hystart: a growing round trip ends slow start without a loss") {
  Rounds path;
  for (int i = 0; i < 3; ++i) path.full_round();
  for (int i = 0; i < 8; ++i) path.full_round(8, 100ms + 20ms * (i + 1));
  CHECK(!path.cubic.in_slow_start());
}

TEST_CASE("hystart: a steady round trip never ends slow start") {
  Rounds path;
  for (int i = 0; i < 10; ++i) path.full_round();
  CHECK(path.cubic.in_slow_start());
}

TEST_CASE("fixed: keeps rate and window whatever happens") {
  const DataRate rate = DataRate::megabits_per_second(100);
  Fixed fixed(rate, 50ms);
  RttEstimator rtt(50ms);
  CHECK(fixed.pacing_rate(rtt) == rate);
  CHECK(fixed.cwnd() >= rate.bytes_in(100ms));
  const auto window = fixed.cwnd();
  fixed.on_packets_lost({.now = at(1s), .newest_sent_at = at(0s), .next = {7}, .packets = 100, .bytes = 120'000});
  CHECK(fixed.cwnd() == window);
  CHECK(fixed.pacing_rate(rtt) == rate);
}

TEST_CASE("cubic: of N lanes each starts with an Nth, and a loss of one is a loss of all, once for each event") {
  Cubic first{datagram, 100ms, 4};
  Cubic second{datagram, 100ms, 4};
  CHECK(first.cwnd() == 16 * datagram);
  CHECK(!first.take_news());
  first.on_packets_lost({.now = at(2s), .newest_sent_at = at(1900ms), .next = {100}, .packets = 2, .bytes = 2400});
  const auto news = first.take_news();
  REQUIRE(news);
  CHECK(!first.take_news());
  second.on_sibling_news(at(2s), *news);
  CHECK(first.cwnd() == 16 * datagram * 7 / 10);
  CHECK(second.cwnd() == first.cwnd());
  // What the second one had sent before it heard of it is the same event, whoever finds it lost.
  second.on_packets_lost({.now = at(2050ms), .newest_sent_at = at(1950ms), .next = {90}, .packets = 1, .bytes = 1200});
  first.on_sibling_news(at(2050ms), *second.take_news());
  CHECK(second.cwnd() == first.cwnd());
  CHECK(first.cwnd() == 16 * datagram * 7 / 10);
}

TEST_CASE("cubic: lanes take an event back when every loss of it, in all of them, was spurious, and not before") {
  Cubic first{datagram, 100ms, 2};
  Cubic second{datagram, 100ms, 2};
  const std::uint64_t before = first.cwnd();
  const auto tell_all = [&] {
    const auto of_first = first.take_news();
    const auto of_second = second.take_news();
    if (of_first) second.on_sibling_news(at(2s), *of_first);
    if (of_second) first.on_sibling_news(at(2s), *of_second);
  };
  first.on_packets_lost({.now = at(2s), .newest_sent_at = at(1900ms), .next = {100}, .packets = 2, .bytes = 2400});
  tell_all();
  second.on_packets_lost({.now = at(2s), .newest_sent_at = at(1950ms), .next = {90}, .packets = 1, .bytes = 1200});
  tell_all();
  first.on_spurious_loss(at(1900ms));
  first.on_spurious_loss(at(1890ms));
  tell_all();
  CHECK(first.cwnd() < before);
  CHECK(second.cwnd() < before);
  second.on_spurious_loss(at(1950ms));
  tell_all();
  CHECK(first.cwnd() == before);
  CHECK(second.cwnd() == before);
}

TEST_CASE("cubic: N lanes together grow as one flow does") {
  const auto grown = [](std::size_t lanes) {
    Cubic cubic{datagram, 100ms, lanes};
    RttEstimator rtt(100ms);
    rtt.on_sample(100ms, {});
    // The same window in all: so far above the least that dividing it means nothing.
    std::uint64_t next = 0;
    TimePoint now = at(1s);
    const auto round = [&] {
      const std::uint64_t packets = cubic.cwnd() / datagram;
      cubic.on_packets_sent(now, {next + packets - 1}, packets * datagram, cubic.cwnd());
      const TimePoint sent = now;
      now += 100ms;
      next += packets;
      cubic.on_packets_acked({.now = now, .largest = {next - 1}, .largest_sent_at = sent, .bytes = packets * datagram},
                             rtt);
    };
    while (cubic.cwnd() < 4096 * datagram / lanes) round();
    cubic.on_packets_lost({.now = now, .newest_sent_at = now - 50ms, .next = {next}, .packets = 1, .bytes = datagram});
    for (int i = 0; i < 100; ++i) round();
    return cubic.cwnd() * lanes / datagram;
  };
  const std::uint64_t one = grown(1);
  CHECK(grown(4) >= one * 98 / 100);
  CHECK(grown(4) <= one * 102 / 100);
}

}  // namespace penstock::engine::test
