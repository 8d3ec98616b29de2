#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/receiver.h"
#include "dataplane/engine/sender.h"
#include "dataplane/engine/sink_window.h"
#include "dataplane/engine/source_window.h"
#include "dataplane/io/lane_drops.h"
#include "dataplane/io/lane_observer.h"
#include "dataplane/io/receive_share.h"
#include "dataplane/io/send_queue.h"
#include "dataplane/io/stream_outlet.h"

namespace penstock::io {

class Port;

/// One engine with its window, observer and path, as the worker's loop sees it: the same for both directions.
/// Threads: the worker's.
class Lane {
 public:
  struct Timing {
    Duration stats_interval;
    Duration quiet_after;
  };

  Lane(ConnectionId own, std::shared_ptr<LaneObserver> observer, const Timing& timing);
  virtual ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  [[nodiscard]] ConnectionId id() const { return id_; }
  [[nodiscard]] const std::optional<Path>& path() const { return path_; }
  [[nodiscard]] Port* port() const { return port_; }
  /// Where to send is known from now on. Requires: `port`'s socket reaches it.
  void open_path(TimePoint now, const Path& path, Port& port);
  /// The same, by the peer's first authentic datagram: should its address change, we follow.
  void learn_path(TimePoint now, const Path& path, Port& port);
  /// After handle_datagrams, of which `outcome` came: where all that is authentic in it came from.
  void on_arrival(TimePoint now, const engine::BatchOutcome& outcome, std::uint64_t bytes, const Path& from,
                  Port& port);
  /// Where the peer seems to have moved to, if that was ever the case; for engine::Transmit::to_proposed.
  struct Proposed {
    Path path;
    Port* port = nullptr;
  };
  [[nodiscard]] const std::optional<Proposed>& proposed() const { return proposed_; }

  /// `mark`: of all datagrams of the batch. `drops`: of the socket that it came by.
  virtual engine::BatchOutcome handle_datagrams(TimePoint now, std::span<std::byte> batch, std::size_t segment_size,
                                                engine::EcnMark mark, const SocketDrops& drops) = 0;
  virtual std::optional<engine::Transmit> poll_transmit(TimePoint now, std::span<std::byte> buffer) = 0;
  /// Its port is full: it is asked for nothing until that has drained.
  virtual void on_send_blocked(TimePoint /*now*/) {}
  /// Events go to window and observer, statistics to the observer when they are due.
  void deliver(TimePoint now);
  /// Earliest moment at which `handle_due` or `poll_transmit` has something to do. Nullopt: nothing until something
  /// arrives.
  [[nodiscard]] std::optional<TimePoint> deadline() const;
  /// Requires: all that came in for the lane by `now` was handed to it.
  void handle_due(TimePoint now);
  /// The last `now` of handle_due: a deadline before it has been served, unless something came in since.
  [[nodiscard]] std::optional<TimePoint> served_until() const { return served_until_; }
  /// Input may bring a deadline forward into the past (an ACK ends a back-off): that one was not served yet.
  void forget_served() { served_until_.reset(); }
  /// How long what came in for the lane could have waited in its socket without harm.
  [[nodiscard]] virtual Duration patience() const = 0;
  /// Takes what its socket's share allows it now.
  virtual void hold_window(const ReceiveShare& /*share*/) {}
  /// The last statistics, then on_lane_gone; nothing is delivered afterwards.
  void say_goodbye();

  virtual engine::Sender* sender() { return nullptr; }
  virtual engine::Receiver* receiver() { return nullptr; }

  // The loop's own marks.
  std::optional<std::size_t> heap_index;
  bool runnable = false;  // in the run queue
  ReceiveShare::Mark share_mark;
  std::uint8_t thread_busy_percent = 0;  // the loop's own, for the statistics
  bool waiting = false;                  // for its socket to become writable

 protected:
  virtual void open_engine_path(TimePoint now) = 0;
  virtual void deliver_events() = 0;
  /// The engine's stream: what it gives goes to the outlet, what it has to say to the observer.
  virtual void serve_stream(TimePoint /*now*/) {}
  virtual void handle_engine_timeout(TimePoint now) = 0;
  [[nodiscard]] virtual std::optional<TimePoint> engine_timeout() const = 0;
  [[nodiscard]] virtual const engine::LaneStats& stats() const = 0;
  virtual void on_quiet() {}
  [[nodiscard]] virtual bool asks_proposed() const { return false; }
  virtual bool propose_address(TimePoint /*now*/, engine::AddressChange /*change*/, std::uint64_t /*bytes*/) {
    return false;
  }
  virtual void on_bytes_from_proposed(std::uint64_t /*bytes*/) {}

  LaneObserver& observer() { return *observer_; }
  void note_new_bytes(TimePoint now) { quiet_at_ = now + timing_.quiet_after; }

 private:
  [[nodiscard]] std::uint64_t activity() const;
  void report_stats(TimePoint now);

  ConnectionId id_;
  std::shared_ptr<LaneObserver> observer_;
  Timing timing_;
  std::optional<Path> path_;
  Port* port_ = nullptr;
  bool follows_ = false;  // the peer's address was learnt, and may change
  std::optional<Proposed> proposed_;
  std::optional<TimePoint> quiet_at_;  // set while new bytes have not been followed by quiet
  std::optional<TimePoint> stats_at_;  // set while the observer does not know the latest
  std::optional<TimePoint> last_report_;
  std::uint64_t reported_activity_ = 0;
  std::optional<TimePoint> served_until_;
};

class SenderLane final : public Lane {
 public:
  SenderLane(ConnectionId own, engine::Sender sender, std::shared_ptr<engine::SourceWindow> window,
             std::shared_ptr<LaneObserver> observer, const Timing& timing);
  engine::BatchOutcome handle_datagrams(TimePoint now, std::span<std::byte> batch, std::size_t segment_size,
                                        engine::EcnMark mark, const SocketDrops& drops) override;
  std::optional<engine::Transmit> poll_transmit(TimePoint now, std::span<std::byte> buffer) override;
  void on_send_blocked(TimePoint now) override;
  [[nodiscard]] Duration patience() const override;
  engine::Sender* sender() override { return &sender_; }
  /// nullptr: the stream ends here.
  void set_outlet(std::shared_ptr<StreamOutlet> outlet) { outlet_ = std::move(outlet); }

 protected:
  void open_engine_path(TimePoint now) override;
  [[nodiscard]] bool asks_proposed() const override { return sender_.asks_proposed(); }
  bool propose_address(TimePoint now, engine::AddressChange change, std::uint64_t bytes) override {
    return sender_.propose_address(now, change, bytes);
  }
  void on_bytes_from_proposed(std::uint64_t bytes) override { sender_.on_bytes_from_proposed(bytes); }
  void deliver_events() override;
  void serve_stream(TimePoint now) override;
  void handle_engine_timeout(TimePoint now) override;
  [[nodiscard]] std::optional<TimePoint> engine_timeout() const override;
  [[nodiscard]] const engine::LaneStats& stats() const override;

 private:
  engine::Sender sender_;
  std::shared_ptr<engine::SourceWindow> window_;
  std::shared_ptr<StreamOutlet> outlet_;
  TransferOffset frontier_told_;
  TransferOffset oldest_told_;
};

class ReceiverLane final : public Lane {
 public:
  ReceiverLane(ConnectionId own, engine::Receiver receiver, std::shared_ptr<engine::SinkWindow> window,
               std::shared_ptr<LaneObserver> observer, const Timing& timing);
  engine::BatchOutcome handle_datagrams(TimePoint now, std::span<std::byte> batch, std::size_t segment_size,
                                        engine::EcnMark mark, const SocketDrops& drops) override;
  std::optional<engine::Transmit> poll_transmit(TimePoint now, std::span<std::byte> buffer) override;
  [[nodiscard]] Duration patience() const override;
  void hold_window(const ReceiveShare& share) override;
  engine::Receiver* receiver() override { return &receiver_; }
  [[nodiscard]] engine::SinkWindow& window() { return *window_; }
  void handle_stream(TimePoint now, TransferOffset at, std::span<const std::byte> payload);

 protected:
  void open_engine_path(TimePoint now) override;
  [[nodiscard]] bool asks_proposed() const override { return receiver_.asks_proposed(); }
  bool propose_address(TimePoint now, engine::AddressChange change, std::uint64_t bytes) override {
    return receiver_.propose_address(now, change, bytes);
  }
  void on_bytes_from_proposed(std::uint64_t bytes) override { receiver_.on_bytes_from_proposed(bytes); }
  void deliver_events() override;
  void serve_stream(TimePoint now) override;
  void handle_engine_timeout(TimePoint now) override;
  [[nodiscard]] std::optional<TimePoint> engine_timeout() const override;
  [[nodiscard]] const engine::LaneStats& stats() const override;
  void on_quiet() override;

 private:
  engine::Receiver receiver_;
  std::shared_ptr<engine::SinkWindow> window_;
  LaneDrops drops_;
  std::uint64_t drops_told_ = 0;
};

}  // namespace penstock::io
