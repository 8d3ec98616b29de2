#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/receiver.h"
#include "dataplane/engine/sender.h"
#include "dataplane/engine/wire/ack_frame.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/forging_peer.h"
#include "tests/sim/memory_sink.h"
#include "tests/sim/memory_source.h"

namespace penstock::sim {

/// More packets than lie between two skipped numbers.
inline constexpr std::uint64_t attacked_bytes = 8 * MiB - 5000;

/// An honest sender with a forging receiver. Its clock is the test's: milliseconds, and jumps.
class SenderUnderAttack {
 public:
  explicit SenderUnderAttack(std::uint64_t seed, engine::Congestion congestion = engine::Congestion::fixed,
                             std::uint64_t bytes = attacked_bytes);

  /// Lets the sender send for `time`, with a turn each `step`; the packet numbers that left.
  bytes::IntervalSet send_for(Duration time, Duration step = std::chrono::milliseconds{1});
  void jump(Duration ahead) { now_ += ahead; }
  void hear(Datagram datagram);
  void acknowledge(const bytes::IntervalSet& numbers, std::optional<engine::EcnCounts> counts = std::nullopt);
  /// The same with whatever else the peer says.
  void acknowledge(const bytes::IntervalSet& numbers, const engine::AckFields& fields);
  [[nodiscard]] std::uint64_t bytes() const { return truth_.size(); }

  ForgingPeer peer;
  std::optional<engine::Closed> closed;

 private:
  void poll_events();

  EventQueue events_{TimePoint{std::chrono::seconds{1}}};
  TimePoint now_{std::chrono::seconds{1}};
  std::vector<std::byte> truth_;
  MemorySource source_;

 public:
  engine::Sender sender;
};

/// An honest receiver with a forging sender.
class ReceiverUnderAttack {
 public:
  explicit ReceiverUnderAttack(std::uint64_t seed, std::uint64_t credit = 256 * KiB);

  engine::BatchOutcome hear(Datagram datagram);
  /// Lets the receiver send for `time`; how many datagrams left.
  std::uint64_t send_for(Duration time);
  void jump(Duration ahead) { now_ += ahead; }
  [[nodiscard]] std::uint64_t bytes_accepted() const { return sink_.bytes_accepted(); }

  ForgingPeer peer;
  std::optional<engine::Closed> closed;

 private:
  void poll_events();

  EventQueue events_{TimePoint{std::chrono::seconds{1}}};
  TimePoint now_{std::chrono::seconds{1}};
  std::vector<std::byte> truth_;  // all zero, like what the tests send
  MemorySink sink_;

 public:
  engine::Receiver receiver;
};

}  // namespace penstock::sim
