#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "dataplane/engine/lane/control_stream.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {

using Messages = std::vector<std::vector<std::byte>>;

TEST_CASE("control stream: loss, reordering and repetition lose no message and swap none") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    ControlSender sender;
    ControlReceiver receiver;
    Messages sent;
    Messages received;
    struct Sent {
      std::uint64_t offset;
      std::vector<std::byte> data;
    };
    std::deque<Sent> flight;
    std::size_t queued = 0;
    while (received.size() < 40) {
      if (queued < 40 && rng.chance(1, 4)) {
        auto message = random_bytes(rng.next(), 1 + rng.below(rng.chance(1, 10) ? 300'000 : 3000));
        if (sender.queue(message)) {
          sent.push_back(std::move(message));
          ++queued;
        }
      }
      if (const auto chunk = sender.next(1 + rng.below(1400))) {
        flight.push_back({chunk->offset, {chunk->data.begin(), chunk->data.end()}});
        sender.on_sent(*chunk);
      }
      if (flight.empty() || (flight.size() < 20 && queued < 40)) continue;
      const std::size_t which = rng.below(std::min<std::size_t>(flight.size(), 10));
      Sent packet = flight[which];
      flight.erase(flight.begin() + static_cast<std::ptrdiff_t>(which));
      const bytes::Interval range{packet.offset, packet.offset + packet.data.size()};
      if (rng.chance(1, 5)) {
        sender.on_lost(range);
        if (rng.chance(1, 2)) continue;  // lost indeed; else it arrives all the same, and may come twice
      }
      REQUIRE(receiver.on_data(packet.offset, packet.data, received) == TransportError::none);
      sender.on_acked(range);
    }
    CHECK(received == sent);
  }
}

TEST_CASE("control stream: nothing leaves beyond the window, and the queue has its bound") {
  ControlSender sender;
  const auto message = random_bytes(1, control_message_max);
  CHECK(!sender.queue({}));
  CHECK(!sender.queue(random_bytes(1, control_message_max + 1)));
  CHECK(sender.queue(message));
  CHECK(sender.queue(message));
  CHECK(!sender.queue(std::span(message).first(1)));
  std::uint64_t sent = 0;
  while (const auto chunk = sender.next(1400)) {
    sent += chunk->data.size();
    sender.on_sent(*chunk);
  }
  CHECK(sent == control_window);
  sender.on_acked({0, 1000});
  CHECK(sender.next(5000)->data.size() == 1000);
}

TEST_CASE("control stream: a peer that exceeds the window, the message size or the holes is refused") {
  Messages messages;
  const std::vector<std::byte> byte(1);
  {
    ControlReceiver receiver;
    CHECK(receiver.on_data(control_window - 1, byte, messages) == TransportError::none);
    CHECK(receiver.on_data(control_window, byte, messages) == TransportError::control_overflow);
  }
  {
    ControlReceiver receiver;
    const std::vector<std::byte> huge{std::byte{0}, std::byte{0x10}, std::byte{0}, std::byte{1}};
    CHECK(receiver.on_data(0, huge, messages) == TransportError::control_overflow);
  }
  {
    ControlReceiver receiver;
    CHECK(receiver.on_data(0, std::vector<std::byte>(4), messages) == TransportError::control_overflow);  // no message
  }
  {
    ControlReceiver receiver;
    TransportError error = TransportError::none;
    for (std::uint64_t at = 1; at < control_window && error == TransportError::none; at += 2)
      error = receiver.on_data(at, byte, messages);
    CHECK(error == TransportError::control_overflow);
  }
  CHECK(messages.empty());
}

}  // namespace penstock::engine::test
