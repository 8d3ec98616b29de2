#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "common/bytes/interval_set.h"
#include "dataplane/io/worker.h"
#include "tests/unit/io/support.h"

namespace penstock::io {

/// All bytes of a transfer, resident from the start.
class MemorySource final : public engine::SourceWindow {
 public:
  explicit MemorySource(Bytes bytes) : bytes_(std::move(bytes)) {}
  std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override;
  void prefetch(TransferRange /*range*/) override {}
  void on_progress(TransferOffset frontier, TransferOffset oldest_unacknowledged, std::uint64_t retention) override;

  [[nodiscard]] const Bytes& bytes() const { return bytes_; }
  [[nodiscard]] TransferOffset frontier();

 private:
  const Bytes bytes_;
  std::mutex mutex_;
  TransferOffset frontier_;
};

/// Room for a whole transfer. Lends or refuses to lend by turns of 16 KiB, so that both ways in are used.
class MemorySink final : public engine::SinkWindow {
 public:
  explicit MemorySink(std::size_t size) : bytes_(size) {}
  std::span<std::byte> lend(TransferOffset at, std::size_t length) override;
  void commit(TransferOffset at, std::size_t length) override;
  bool store(TransferOffset at, std::span<const std::byte> bytes) override;
  [[nodiscard]] std::uint64_t room() const override { return bytes_.size() - received_; }
  void on_quiet() override;

  /// Blocks until on_quiet was called with every byte there; false after a long time.
  bool await_quiet();
  /// Only once the lane is quiet or gone.
  [[nodiscard]] const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
  std::size_t received_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool quiet_with_all_ = false;
};

/// Remembers what it was told, for other threads to wait for.
class RecordingObserver final : public LaneObserver {
 public:
  struct Record {
    std::vector<TransferOffset> drained;
    std::vector<Bytes> control;
    std::vector<engine::Closed> closed;
    std::size_t peer_heard = 0;
    std::size_t stats = 0;
    engine::LaneStats last_stats;
    std::size_t gone = 0;
    std::size_t after_gone = 0;  // calls that must not have come
  };

  void on_event(const engine::SenderEvent& event) override;
  void on_event(const engine::ReceiverEvent& event) override;
  void on_stats(const engine::LaneStats& stats) override;
  void on_lane_gone() override;

  /// Blocks until `condition` holds; false after a long time.
  bool await(const std::function<bool(const Record&)>& condition);
  bool await_drained(std::uint64_t end);
  bool await_gone();
  [[nodiscard]] Record record();

 private:
  template <class Event>
  void take(const Event& event);
  void change(const std::function<void(Record&)>& how);

  std::mutex mutex_;
  std::condition_variable changed_;
  Record record_;
};

/// Both halves of one lane, ready to be put on workers.
struct LanePair {
  LanePair(Bytes bytes, std::uint64_t seed);
  void add_sender(Worker& worker, std::optional<Endpoint> peer);
  /// `hello`: the receiver knows its peer and the sender does not (pull).
  void add_receiver(Worker& worker, std::optional<Endpoint> peer, bool hello = false);
  /// Heard by `observer` instead of `receiver_seen`.
  void add_receiver(Worker& worker, std::optional<Endpoint> peer, std::shared_ptr<LaneObserver> observer,
                    bool hello = false);
  /// Client pushes to daemon.
  void push(Worker& client, Worker& daemon);
  /// Client pulls from daemon.
  void pull(Worker& client, Worker& daemon);
  /// Waits until all bytes have arrived and are known to have arrived, and compares them.
  void check_complete();

  std::uint64_t size;
  std::uint64_t seed;
  ConnectionId sender_id;
  ConnectionId receiver_id;
  std::shared_ptr<MemorySource> source;
  std::shared_ptr<MemorySink> sink;
  std::shared_ptr<RecordingObserver> sender_seen = std::make_shared<RecordingObserver>();
  std::shared_ptr<RecordingObserver> receiver_seen = std::make_shared<RecordingObserver>();
};

/// Waits until the worker has finished the turn that it is in, so that its counters are up to date.
void finish_turn(Worker& worker);

std::unique_ptr<Worker> start_worker(const std::vector<std::string>& listen, const UdpSocketOptions& options = {},
                                     std::size_t inbox_max = 1024);

}  // namespace penstock::io
