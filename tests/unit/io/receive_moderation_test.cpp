#include "dataplane/io/receive_moderation.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace penstock::io {
namespace {

using namespace std::chrono_literals;

/// Single packets at an even pace into a socket that is read as its moderation says, in virtual time.
struct Stream {
  Duration gap = 60us;  // 200 Mbit/s
  std::size_t packet = 1471;
  Duration patience = 2ms;
  ReceiveModeration moderation{8 * MiB};

  TimePoint now{};
  TimePoint next_packet{};
  std::size_t reads = 0;
  Duration waited_max{};  // of a packet, from its arrival to the read
  std::size_t waiting_max = 0;

  /// One look at the socket, when it is due.
  void turn() {
    const auto rest = moderation.rest_until();
    now = std::max(now, rest ? *rest : next_packet);
    ReceiveModeration::Read read{.patience = patience};
    if (next_packet <= now) waited_max = std::max(waited_max, now - next_packet);
    for (; next_packet <= now; next_packet += gap) {
      ++read.messages;
      read.bytes += packet;
    }
    waiting_max = std::max(waiting_max, read.messages);
    moderation.on_read(now, read);
    ++reads;
  }
  void run_for(Duration time) {
    for (const TimePoint end = now + time; now < end;) turn();
  }
};

TimePoint at(Duration since_start) { return TimePoint{} + since_start; }

}  // namespace

TEST_CASE("moderation: packets that come singly cost a wake-up for each only at first") {
  Stream stream;
  stream.run_for(10ms);
  stream.reads = 0;
  stream.run_for(1s);  // 16 667 packets
  CHECK(stream.reads <= 1000 + 10);
  CHECK(stream.waited_max <= ReceiveModeration::rest_max);
}

TEST_CASE("moderation: no datagram waits for longer than its lane has patience") {
  for (const Duration patience : {100us, 300us, 700us}) {
    Stream stream{.patience = patience};
    stream.run_for(1s);
    CHECK(stream.waited_max <= patience);
    CHECK(stream.reads <= 16667 / 2 + 20 + static_cast<std::size_t>(1s / patience));
  }
}

TEST_CASE("moderation: what comes more seldom than it would be looked at wakes at once") {
  Stream stream{.gap = 2ms};
  stream.run_for(1s);
  CHECK(stream.waited_max == 0us);
  Stream impatient{.patience = 50us};
  impatient.run_for(1s);
  CHECK(impatient.waited_max == 0us);
}

TEST_CASE("moderation: the first packets of a lane wake at once") {
  Stream stream;
  for (std::uint32_t i = 0; i + 1 < ReceiveModeration::busy_reads_min; ++i) {
    stream.turn();
    REQUIRE(!stream.moderation.rest_until());
  }
}

TEST_CASE("moderation: after a pause the socket is watched again") {
  Stream stream;
  stream.run_for(100ms);
  REQUIRE(stream.moderation.rest_until());
  stream.next_packet = stream.now + 1s;
  stream.turn();  // what had gathered is less than a whole rest's, or nothing
  stream.turn();
  CHECK(!stream.moderation.rest_until());
  stream.waited_max = {};
  stream.turn();
  CHECK(stream.waited_max == 0us);
}

TEST_CASE("moderation: a rest fills no more than a quarter of the socket's buffer") {
  // 212 992 is what an ordinary user gets of an untuned kernel, which reports it doubled.
  for (const std::size_t buffer : {std::size_t{425'984}, std::size_t{64 * KiB}}) {
    Stream stream{.gap = 10us, .patience = 1ms, .moderation = ReceiveModeration{buffer}};
    stream.run_for(1s);
    CHECK(stream.waiting_max * (stream.packet + ReceiveModeration::message_overhead) <= buffer / 4 + 2 * 2500);
  }
}

TEST_CASE("moderation: a lane that can not wait speaks for all on its socket, and not for ever") {
  Stream stream;
  stream.run_for(100ms);
  REQUIRE(stream.moderation.rest_until());
  stream.moderation.on_read(stream.now, {.messages = 1, .bytes = 100, .patience = 0us});
  CHECK(!stream.moderation.rest_until());
  const TimePoint hurried = stream.now;
  stream.waited_max = {};
  stream.run_for(ReceiveModeration::patience_memory - 1ms);
  CHECK(stream.waited_max == 0us);
  stream.run_for(10ms);
  CHECK(stream.moderation.rest_until());
  CHECK(stream.now - hurried < 2 * ReceiveModeration::patience_memory);
}

TEST_CASE("moderation: where the kernel joins packets each read is worth its wake-up") {
  Stream stream{.gap = 60us, .packet = 63'184};
  stream.run_for(100ms);
  CHECK(stream.waited_max == 0us);
}

TEST_CASE("moderation: a socket that holds more is read on at once") {
  Stream stream;
  stream.run_for(100ms);
  REQUIRE(stream.moderation.rest_until());
  const TimePoint due = *stream.moderation.rest_until();
  stream.moderation.on_read(due, {.messages = 32, .bytes = 32 * 1471, .emptied = false, .patience = 2ms});
  CHECK(stream.moderation.rest_until() == due);
}

TEST_CASE("moderation: a deadline that ends a rest early does not end moderation") {
  ReceiveModeration moderation{8 * MiB};
  TimePoint now = at(1s);
  for (std::uint32_t i = 0; i <= ReceiveModeration::busy_reads_min; ++i, now += 60us) {
    moderation.on_read(now, {.messages = 1, .bytes = 1471, .patience = 1ms});
  }
  const auto rest = moderation.rest_until();
  REQUIRE(rest);
  moderation.on_read(now, {.messages = 0, .patience = 1ms});
  CHECK(moderation.rest_until() == rest);
}

}  // namespace penstock::io
