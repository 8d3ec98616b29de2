#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "dataplane/engine/stream/stream_flight.h"
#include "dataplane/engine/stream/stream_receipts.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {
namespace {

constexpr TransferRange range(std::uint64_t begin, std::uint64_t end) { return {{begin}, {end}}; }

/// A pair whose datagrams can be cut, and a stream between its ends that takes no time.
struct StreamedPair {
  explicit StreamedPair(Pair::Options options) : pair(std::move(options)) {
    pair.open();
    pair.offer_all();
  }
  void cut() {
    pair.forward = [](auto, auto) { return Pair::Fate::drop; };
    pair.backward = [](auto, auto) { return Pair::Fate::drop; };
  }
  void mend() {
    pair.forward = [](auto, auto) { return Pair::Fate::deliver; };
    pair.backward = [](auto, auto) { return Pair::Fate::deliver; };
  }
  void go_by_stream() {
    pair.sender.go_by_stream();
    const auto holding = pair.receiver.holding(pair.sink, 4096);
    for (const auto& held : holding.held) pair.sender.on_held(held);
    pair.sender.on_credit(holding.credit);
  }
  /// At most `messages` of them.
  std::size_t stream(std::size_t messages = std::size_t(-1), std::size_t length = stream_payload_usual) {
    std::size_t moved = 0;
    while (moved < messages) {
      const auto chunk = pair.sender.poll_stream(pair.now(), pair.source, length);
      if (!chunk) break;
      ++moved;
      streamed += chunk->payload.size();
      pair.receiver.handle_stream(pair.now(), chunk->at, chunk->payload, pair.sink);
      if (const auto ack = pair.receiver.poll_stream_ack(pair.now(), pair.sink))
        pair.sender.on_stream_ack(pair.now(), *ack);
    }
    if (const auto ack = pair.receiver.poll_stream_ack(pair.now() + StreamReceipts::delay_max, pair.sink))
      pair.sender.on_stream_ack(pair.now(), *ack);
    return moved;
  }
  [[nodiscard]] bool arrived() const { return pair.sink.bytes() == pair.source.bytes(); }
  bool finish() {
    return pair.run_until([&] { return pair.sender_drained() && pair.receiver_drained(); });
  }

  Pair pair;
  std::uint64_t streamed = 0;
};

Pair::Options of_size(std::uint64_t size) { return {.size = size}; }

}  // namespace

TEST_CASE("stream flight: a count settles messages in order, and the refused ones by number") {
  StreamFlight flight;
  flight.on_sent(range(0, 10));
  flight.on_sent(range(10, 30));
  flight.on_sent(range(30, 35));
  flight.on_sent(range(35, 40));
  const auto first = flight.on_ack({.messages = 3, .refused = {1}, .credit = {}});
  REQUIRE(first);
  CHECK(first->arrived == std::vector{range(0, 10), range(30, 35)});
  CHECK(first->refused == std::vector{range(10, 30)});
  CHECK(first->bytes_arrived == 15);
  CHECK(flight.bytes() == 5);
  const auto second = flight.on_ack({.messages = 4, .refused = {}, .credit = {}});
  REQUIRE(second);
  CHECK(second->arrived == std::vector{range(35, 40)});
  CHECK(flight.empty());
}

TEST_CASE("stream flight: an acknowledgement that makes no sense is refused") {
  const auto judged = [](const StreamAck& ack) {
    StreamFlight flight;
    for (std::uint64_t i = 0; i < 4; ++i) flight.on_sent(range(i, i + 1));
    REQUIRE(flight.on_ack({.messages = 1, .refused = {}, .credit = {}}));
    return flight.on_ack(ack).has_value();
  };
  CHECK(judged({.messages = 4, .refused = {1, 3}, .credit = {}}));
  CHECK_FALSE(judged({.messages = 5, .refused = {}, .credit = {}}));      // never sent
  CHECK_FALSE(judged({.messages = 0, .refused = {}, .credit = {}}));      // goes back
  CHECK_FALSE(judged({.messages = 3, .refused = {0}, .credit = {}}));     // of the last one
  CHECK_FALSE(judged({.messages = 3, .refused = {3}, .credit = {}}));     // not handled yet
  CHECK_FALSE(judged({.messages = 4, .refused = {2, 2}, .credit = {}}));  // twice
  CHECK_FALSE(judged({.messages = 4, .refused = {3, 2}, .credit = {}}));  // not rising
  CHECK_FALSE(judged({.messages = ~std::uint64_t{0}, .refused = {}, .credit = {}}));
}

TEST_CASE("stream: what limits a receiver's window limits its stream as well") {
  constexpr std::uint64_t limit = 96 * KiB;
  StreamedPair it({.sender = {.initial_credit = limit}, .receiver = {.initial_credit = limit}, .size = 4 * MiB});
  it.cut();
  it.pair.receiver.limit_window(limit);
  it.go_by_stream();
  for (int turn = 0; turn < 5; ++turn) {
    // All that the sender may send before it hears something.
    std::uint64_t sent = 0;
    std::vector<std::pair<TransferOffset, std::vector<std::byte>>> under_way;
    while (const auto chunk = it.pair.sender.poll_stream(it.pair.now(), it.pair.source, stream_payload_usual)) {
      sent += chunk->payload.size();
      under_way.emplace_back(chunk->at, std::vector(chunk->payload.begin(), chunk->payload.end()));
    }
    CHECK(sent > 0);
    CHECK(sent <= limit);
    for (const auto& [at, payload] : under_way)
      it.pair.receiver.handle_stream(it.pair.now(), at, payload, it.pair.sink);
    const auto ack = it.pair.receiver.poll_stream_ack(it.pair.now() + StreamReceipts::delay_max, it.pair.sink);
    REQUIRE(ack);
    it.pair.sender.on_stream_ack(it.pair.now(), *ack);
  }
  it.pair.receiver.limit_window(std::nullopt);
  it.stream();
  CHECK(it.arrived());
}

TEST_CASE("stream: all bytes arrive without a single datagram") {
  StreamedPair it(of_size(5 * MiB + 12345));
  it.cut();
  it.go_by_stream();
  it.stream();
  CHECK(it.arrived());
  CHECK(it.streamed == it.pair.source.bytes().size());
  CHECK(it.finish());
  CHECK(it.pair.sender.stats().stream_bytes_arrived == it.streamed);
  CHECK(it.pair.receiver.stats().stream_bytes == it.streamed);
}

TEST_CASE("stream: a switch midway keeps what is there, and writes no byte twice") {
  StreamedPair it(of_size(8 * MiB));
  (void)it.pair.run_until([&] { return it.pair.receiver.stats().payload_bytes_received > 2 * MiB; });
  it.pair.backward = [](auto, auto) { return Pair::Fate::drop; };  // what still arrives is told by the switch alone
  (void)it.pair.run_until([] { return false; }, 100ms);
  const auto here = it.pair.receiver.stats().payload_bytes_received;
  it.cut();
  it.go_by_stream();
  it.stream();
  CHECK(it.arrived());
  CHECK(it.streamed == it.pair.source.bytes().size() - here);
  CHECK(it.pair.sink.overwritten() == 0);
  CHECK(it.finish());
}

TEST_CASE("stream: datagrams that come late stay valid, and what they brought is not written again") {
  StreamedPair it(of_size(4 * MiB));
  std::size_t late = 0;
  (void)it.pair.run_until([&] { return it.pair.sender.stats().packets_sent > 40; });
  it.pair.sender.go_by_stream();  // with datagrams on their way
  it.stream(3);
  late = it.pair.datagrams_forward;
  (void)it.pair.run_until([] { return false; }, 50ms);
  CHECK(it.pair.receiver.stats().packets_received >= late);
  it.stream();
  CHECK(it.arrived());
  CHECK(it.pair.sink.overwritten() == 0);
  CHECK(it.finish());
}

TEST_CASE("stream: nothing leaves by datagrams but what is asked for, and a ping is answered") {
  StreamedPair it(of_size(4 * MiB));
  it.cut();
  (void)it.pair.run_until([] { return false; }, 1s);
  const auto dark_since = it.pair.sender.stats().unanswered_since;
  REQUIRE(dark_since);
  CHECK_FALSE(it.pair.sender.stats().answered_at);
  it.go_by_stream();
  it.pair.receiver.set_probing(false);
  (void)it.pair.run_until([] { return false; }, 1s);
  const auto sent = it.pair.datagrams_forward;
  (void)it.pair.run_until([] { return false; }, 30s);
  CHECK(it.pair.datagrams_forward == sent);
  it.mend();
  it.pair.sender.ping();
  (void)it.pair.run_until([] { return false; }, 100ms);
  CHECK(it.pair.sender.stats().answered_at);
  CHECK(it.pair.datagrams_forward > sent);
}

TEST_CASE("stream: back to datagrams, what is on its way is not sent twice") {
  StreamedPair it(of_size(8 * MiB));
  it.go_by_stream();
  // Taken, and not told of yet.
  std::vector<std::pair<TransferOffset, std::vector<std::byte>>> on_its_way;
  for (int i = 0; i < 10; ++i) {
    const auto chunk = it.pair.sender.poll_stream(it.pair.now(), it.pair.source, stream_payload_usual);
    REQUIRE(chunk);
    on_its_way.emplace_back(chunk->at, std::vector(chunk->payload.begin(), chunk->payload.end()));
  }
  it.pair.sender.go_by_datagrams();
  (void)it.pair.run_until([] { return false; }, 20ms);
  for (const auto& [at, bytes] : on_its_way) it.pair.receiver.handle_stream(it.pair.now(), at, bytes, it.pair.sink);
  const auto ack = it.pair.receiver.poll_stream_ack(it.pair.now(), it.pair.sink);
  REQUIRE(ack);
  CHECK(ack->messages == 10);
  it.pair.sender.on_stream_ack(it.pair.now(), *ack);
  CHECK(it.finish());
  CHECK(it.arrived());
  CHECK(it.pair.receiver.stats().payload_bytes_duplicate == 0);
  CHECK(it.pair.sender.stats().payload_bytes_retransmitted == 0);
}

TEST_CASE("stream: back to datagrams, the tail ends when what is on its way by the stream has arrived too") {
  StreamedPair it(of_size(8 * MiB));
  it.go_by_stream();
  const auto chunk = it.pair.sender.poll_stream(it.pair.now(), it.pair.source, stream_payload_usual);
  REQUIRE(chunk);
  const std::vector on_its_way(chunk->payload.begin(), chunk->payload.end());
  it.pair.sender.go_by_datagrams();
  (void)it.pair.run_until([] { return false; }, 5s);  // all but that
  const auto& stats = it.pair.sender.stats();
  REQUIRE(stats.last_new_sent_at);
  CHECK(!tail_of(stats));
  it.pair.receiver.handle_stream(it.pair.now(), chunk->at, on_its_way, it.pair.sink);
  const auto ack = it.pair.receiver.poll_stream_ack(it.pair.now() + StreamReceipts::delay_max, it.pair.sink);
  REQUIRE(ack);
  it.pair.sender.on_stream_ack(it.pair.now(), *ack);
  CHECK(stats.all_acked_at == it.pair.now());
  // By the stream alone nobody notes when the last new byte left.
  it.pair.sender.go_by_stream();
  CHECK(!tail_of(stats));
}

TEST_CASE("stream: a sink without room refuses, and the bytes come again") {
  Pair::Options options = of_size(6 * MiB);
  StreamedPair it(std::move(options));
  it.cut();
  it.pair.sink.room_limit = 2 * MiB;
  it.go_by_stream();
  it.pair.sink.room_limit = 1 * MiB;  // promised, and gone
  (void)it.stream();
  CHECK(it.pair.receiver.stats().packets_refused_by_sink > 0);
  CHECK_FALSE(it.arrived());
  CHECK_FALSE(it.pair.sender.poll_stream(it.pair.now(), it.pair.source, stream_payload_usual));
  CHECK(it.pair.sender.poll_timeout());  // it waits, and then goes on by itself
  for (int turn = 0; turn < 40 && !it.arrived(); ++turn) {
    it.pair.sink.drain(1 * MiB);
    it.pair.receiver.on_sink_room(it.pair.now());
    (void)it.pair.run_until([] { return false; }, 200ms);
    (void)it.stream();
  }
  CHECK(it.arrived());
  CHECK(it.pair.sink.overwritten() == 0);
  CHECK(it.finish());
}

TEST_CASE("stream: bytes beyond credit or manifest, across a slab, or too many end the lane") {
  const auto fault = [](TransferOffset at, std::size_t size, std::uint64_t room) {
    StreamedPair it(of_size(4 * MiB));
    it.cut();
    it.pair.sink.room_limit = room;
    it.go_by_stream();
    const std::vector<std::byte> bytes(size);
    it.pair.receiver.handle_stream(it.pair.now(), at, bytes, it.pair.sink);
    std::optional<TransportError> error;
    while (const auto event = it.pair.receiver.poll_event())
      if (const auto* closed = std::get_if<Closed>(&*event)) error = closed->error;
    return error;
  };
  CHECK(fault({0}, stream_payload_max, 4 * MiB) == std::nullopt);
  CHECK(fault({4 * MiB - 1}, 1, 4 * MiB) == std::nullopt);
  CHECK(fault({4 * MiB}, 1, 4 * MiB) == TransportError::credit_exceeded);
  CHECK(fault({transfer_space_max - 1}, 1000, 4 * MiB) == TransportError::protocol_violation);
  CHECK(fault({1 * MiB - 1}, 2, 4 * MiB) == TransportError::protocol_violation);
  CHECK(fault({0}, stream_payload_max + 1, 4 * MiB) == TransportError::protocol_violation);
  CHECK(fault({0}, 0, 4 * MiB) == TransportError::protocol_violation);
}

TEST_CASE("stream: a sender keeps to its credit, and a receiver that gets more ends the lane") {
  StreamedPair it(
      Pair::Options{.sender = {.initial_credit = 100'000}, .receiver = {.initial_credit = 100'000}, .size = 4 * MiB});
  it.cut();
  it.pair.sink.room_limit = 0;
  it.go_by_stream();
  std::uint64_t sent = 0;
  std::vector<std::byte> last;
  TransferOffset end;
  while (const auto chunk = it.pair.sender.poll_stream(it.pair.now(), it.pair.source, 30'000)) {
    sent += chunk->payload.size();
    end = chunk->at + chunk->payload.size();
  }
  CHECK(sent == 100'000);
  it.pair.sink.room_limit = 1 * GiB;
  std::vector<std::byte> bytes(50'000);
  it.pair.receiver.handle_stream(it.pair.now(), {0}, bytes, it.pair.sink);
  it.pair.receiver.handle_stream(it.pair.now(), {50'000}, bytes, it.pair.sink);
  it.pair.receiver.handle_stream(it.pair.now(), {100'000}, std::span(bytes).first(1), it.pair.sink);
  std::optional<TransportError> error;
  while (const auto event = it.pair.receiver.poll_event())
    if (const auto* closed = std::get_if<Closed>(&*event)) error = closed->error;
  CHECK(error == TransportError::credit_exceeded);
}

TEST_CASE("stream: a manifest that grows is told by itself, to a sender that has nothing to send before") {
  Pair pair(Pair::Options{.size = 8 * MiB});
  pair.sender.go_by_stream();
  pair.receiver.withhold(range(0, 4 * MiB));
  pair.sender.withhold(range(0, 4 * MiB));
  CHECK_FALSE(pair.receiver.poll_stream_ack(pair.now(), pair.sink));
  pair.sender.on_credit(pair.receiver.holding(pair.sink, 10).credit);
  pair.sender.offer({8 * MiB});
  CHECK_FALSE(pair.sender.poll_stream(pair.now(), pair.source, 1000));
  CHECK_FALSE(pair.receiver.poll_stream_ack(pair.now(), pair.sink));
  pair.receiver.expect({8 * MiB});
  const auto told = pair.receiver.poll_stream_ack(pair.now(), pair.sink);
  REQUIRE(told);
  CHECK(told->messages == 0);
  CHECK_FALSE(pair.receiver.poll_stream_ack(pair.now(), pair.sink));
  pair.sender.on_stream_ack(pair.now(), *told);
  CHECK(pair.sender.poll_stream(pair.now(), pair.source, 1000));
}

TEST_CASE("stream: a false acknowledgement ends the sender's lane") {
  StreamedPair it(of_size(1 * MiB));
  it.go_by_stream();
  (void)it.pair.sender.poll_stream(it.pair.now(), it.pair.source, 1000);
  it.pair.sender.on_stream_ack(it.pair.now(), {.messages = 2, .refused = {}, .credit = {}});
  std::optional<TransportError> error;
  while (const auto event = it.pair.sender.poll_event())
    if (const auto* closed = std::get_if<Closed>(&*event)) error = closed->error;
  CHECK(error == TransportError::acknowledged_unsent);
}

TEST_CASE("stream: bytes to be repaired are sent again, whatever their acknowledgement says") {
  StreamedPair it(of_size(1 * MiB));
  it.cut();
  it.go_by_stream();
  const auto chunk = it.pair.sender.poll_stream(it.pair.now(), it.pair.source, 1000);
  REQUIRE(chunk);
  const std::vector<std::byte> bytes(chunk->payload.begin(), chunk->payload.end());
  it.pair.receiver.handle_stream(it.pair.now(), chunk->at, bytes, it.pair.sink);
  const auto ack = it.pair.receiver.poll_stream_ack(it.pair.now() + StreamReceipts::delay_max, it.pair.sink);
  REQUIRE(ack);
  it.pair.receiver.forget(range(0, 1000));
  it.pair.sink.forget(range(0, 1000));
  it.pair.sender.resend(range(0, 1000));
  it.pair.sender.on_stream_ack(it.pair.now(), *ack);
  it.stream();
  CHECK(it.arrived());
  CHECK(it.finish());
}

TEST_CASE("stream: a rate is kept") {
  StreamedPair it(Pair::Options{.sender = {.rate = DataRate::megabits_per_second(8)}, .size = 8 * MiB});
  it.cut();
  it.go_by_stream();
  const TimePoint begun = it.pair.now();
  const auto due = [&] { return it.pair.sender.poll_timeout().value_or(TimePoint{}); };
  while (it.pair.now() - begun < 4s) {
    (void)it.stream();
    (void)it.pair.run_until([&] { return it.pair.now() >= due(); }, 1s);
  }
  const auto elapsed = std::chrono::duration<double>(it.pair.now() - begun).count();
  const double rate = static_cast<double>(it.streamed) * 8 / elapsed;
  CHECK(rate < 8e6);
  CHECK(rate > 6.5e6);
}

TEST_CASE("stream receipts: told at once when it matters, soon otherwise") {
  StreamReceipts receipts;
  const TimePoint now{1s};
  CHECK_FALSE(receipts.due_at());
  receipts.on_taken(now, 1000);
  CHECK(receipts.due_at() == now + StreamReceipts::delay_max);
  receipts.on_taken(now, StreamReceipts::bytes_max);
  CHECK(receipts.due_at() == now);
  CHECK(receipts.take({}).messages == 2);
  CHECK_FALSE(receipts.due_at());
  receipts.on_refused(now);
  CHECK(receipts.due_at() == now);
  CHECK(receipts.take({}).refused == std::vector<std::uint64_t>{2});
}

}  // namespace penstock::engine::test
