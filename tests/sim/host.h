#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/units.h"
#include "dataplane/engine/wire/ecn_mark.h"
#include "tests/sim/datagram.h"
#include "tests/sim/event_queue.h"

namespace penstock::sim {

/// One engine with its driver, as a worker sees it.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  /// Equal segments, the last may be shorter, with one mark.
  virtual void receive(std::span<std::byte> batch, std::size_t segment_size, engine::EcnMark mark) = 0;
  /// Timers that are due, then all that may be sent, then events.
  virtual void turn() = 0;
};

/// One worker that owns many engines and one socket: hands datagrams on by connection id, in batches as GRO makes them,
/// then gives each engine that heard something its turn. Datagrams wait up to `coalescing` for others to join them.
class Host {
 public:
  static constexpr std::size_t socket_room = 4000;  // datagrams: some 6 MB

  Host(EventQueue& events, Duration coalescing) : events_(events), coalescing_(coalescing) {}

  /// Borrowed for life.
  void add(ConnectionId own_id, Endpoint& endpoint) { endpoints_.emplace(own_id, &endpoint); }
  void deliver(Datagram datagram, engine::EcnMark mark = engine::EcnMark::none);
  /// Nothing is read, and nobody takes a turn, from `from` to `until`; then everything at once. What comes meanwhile
  /// waits in the socket, as far as that has room, in datagrams.
  void sleep(TimePoint from, TimePoint until, std::size_t room = socket_room) { sleep_ = {from, until, room}; }
  /// When it may act: now, or at the end of its sleep.
  [[nodiscard]] TimePoint awake_at() const;
  /// Datagrams whose connection id nobody here has.
  [[nodiscard]] std::uint64_t strangers() const { return strangers_; }

 private:
  void process();

  EventQueue& events_;
  Duration coalescing_;
  std::map<ConnectionId, Endpoint*> endpoints_;
  struct Arrival {
    Datagram bytes;
    engine::EcnMark mark;
  };
  std::vector<Arrival> inbox_;
  std::vector<std::byte> batch_;
  bool process_scheduled_ = false;
  std::uint64_t strangers_ = 0;
  struct Sleep {
    TimePoint from{};
    TimePoint until{};
    std::size_t room = 0;
  };
  Sleep sleep_;
};

/// Calls an endpoint's turn at its engine's deadline, and gives up on an engine that spins at one moment.
class Wakeup {
 public:
  Wakeup(EventQueue& events, std::function<void()> turn) : events_(events), turn_(std::move(turn)) {}
  /// The sleep of `host` puts turns off. Borrowed for life.
  Wakeup(EventQueue& events, const Host& host, std::function<void()> turn)
      : events_(events), host_(&host), turn_(std::move(turn)) {}
  /// The engine's deadline after a turn. False: it wanted a turn at once too often while time stood still.
  [[nodiscard]] bool arm(std::optional<TimePoint> deadline);
  /// A turn at the present moment, after what is scheduled already, and after the turn that asks for it.
  void soon();

 private:
  void schedule(TimePoint at);

  EventQueue& events_;
  const Host* host_ = nullptr;  // nullptr: never sleeps
  std::function<void()> turn_;
  std::optional<TimePoint> deadline_;
  std::optional<TimePoint> scheduled_;
  bool soon_ = false;
  TimePoint last_armed_{};
  int turns_at_once_ = 0;
};

}  // namespace penstock::sim
