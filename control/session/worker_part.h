#pragma once

#include <asio/any_io_executor.hpp>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/bytes/interval_set.h"
#include "control/session/lane_team.h"
#include "control/session/ratio_talk.h"
#include "control/session/transfer_run.h"
#include "control/transfer/message_order.h"

namespace penstock::control {

/// The first lane, which is `worker`'s, then the others in the order of their seats.
[[nodiscard]] std::vector<LaneRef> lane_refs(const RunConfig& config, io::Worker& worker);

/// What of a TransferRun lives on its worker's thread: the side, the order of messages, the lane's ear. Private to the
/// run's sources. What it has to say to the run is posted to the control thread.
/// Lifetime: shared, by the run and by the lane as its observer; close() before the run's end.
class TransferRun::WorkerPart final : public io::LaneObserver,
                                      public SideHost,
                                      public SenderLane,
                                      public ReceiverLane,
                                      public LaneTeamHost,
                                      public std::enable_shared_from_this<WorkerPart> {
 public:
  WorkerPart(const RunConfig& config, io::Worker& worker, asio::any_io_executor control,
             std::weak_ptr<TransferRun> run);
  ~WorkerPart() override { team_->retire(); }
  WorkerPart(const WorkerPart&) = delete;
  WorkerPart& operator=(const WorkerPart&) = delete;

  [[nodiscard]] LaneTeam& team() { return *team_; }
  [[nodiscard]] storage::SourceObserver& source_observer() { return *source_; }
  [[nodiscard]] storage::SinkObserver& sink_observer() { return *sink_; }

  void start(std::shared_ptr<storage::SourceReader> reader, std::shared_ptr<storage::Sink> sink);
  void on_tcp_message(proto::Envelope envelope);
  void send_after(proto::Envelope envelope);
  void on_tick();
  /// TransferRun::confirm.
  void on_answered(bool await_verdicts);

  /// While bytes go by TCP, UDP carries nothing: neither our messages, nor what could tell that a lane is silent.
  void on_data_way(DataWay way);
  void on_link_room();

  /// Makes durable what arrived, closes the side, removes the lane; then tells the control thread.
  void close();

  /// On the worker's thread, so that it comes after the adding, which is posted from there. Again does no harm.
  void cut_off();

  // io::LaneObserver
  void on_event(const engine::SenderEvent& event) override;
  void on_event(const engine::ReceiverEvent& event) override;
  void on_stats(const engine::LaneStats& stats) override { team_->on_stats(stats); }
  void on_stream_ack(const engine::StreamAck& ack) override { on_team_stream_ack(0, ack); }

  // LaneTeamHost
  void on_team_drained(TransferOffset end) override;
  void on_team_heard() override;
  void on_team_stats(const engine::LaneStats& stats) override;
  void on_team_stream_ack(std::size_t lane, const engine::StreamAck& ack) override;
  void on_team_proposes(std::size_t lane, const engine::RepairRatio& ratio) override;
  void on_team_failed(Error error) override;

  // SideHost
  void send(proto::Envelope envelope) override { number_and_send(std::move(envelope)); }
  [[nodiscard]] bool has_room() const override;
  void warn(Error warning) override;
  void on_entry(const storage::FileReport& report, storage::FileType type, EntryOutcome outcome) override;
  void on_committed() override;
  void on_failed(Error error) override;

  // SenderLane and ReceiverLane: the same words where they mean the same.
  void offer(TransferOffset end) override;
  void finish(TransferOffset end) override;
  void withhold(TransferRange range) override;
  void resend(TransferRange range) override;
  void on_source_ready() override;
  void expect(TransferOffset end) override;
  void forget(TransferRange range) override;
  void on_sink_room() override;

  std::atomic<std::size_t> outbound_bytes_{0};  // handed to the control thread and not yet to the link

 private:
  using Reopens = LaneTeam::Reopens;
  void take_stats(const engine::LaneStats& stats);
  void deliver_committed();
  void number_and_send(proto::Envelope envelope);
  void on_pipe_message(std::span<const std::byte> message);
  void drain_order();
  void on_ratio_agreed(std::uint64_t number);
  void on_ratio_proposed(const proto::FecRatio& proposal);

  /// Lets the reader of TCP go on, unless the sink is far behind with its verdicts.
  void return_credit();
  void on_peer_heard();
  void on_lane_closed(const engine::Closed& closed);
  void deliver(RunOutcome outcome);

  /// Tells the sink what the path holds, so that its slabs, and with them the credit, are not what limits. While they
  /// are, what is measured is the window, and twice as much may be had: it doubles until something else limits.
  /// By the least RTT: what a busy machine lets wait in its own sockets is no path, and slabs for it make more wait.
  void follow_path(const engine::LaneStats& stats);
  void publish_stats();
  void count_ways(RunStats& stats) const;
  /// Says goodbye to the peer; `done` when the lanes are no more, or were not there.
  void let_lanes_go(std::function<void()> done) { team_->let_go(source_.has_value(), std::move(done)); }

  void gone();
  void to_senders(Reopens reopens, const std::function<void(engine::Sender&)>& act);
  template <class Act>
  void to_receivers(Reopens reopens, Act act);
  template <class Act>
  void to_control(Act act);

  const TransferRole role_;
  const ConnectionId own_;
  const bool has_lane_;
  const bool report_entries_;
  const std::shared_ptr<ReceiptSpool> receipts_;
  io::Worker& worker_;
  asio::any_io_executor control_;
  std::weak_ptr<TransferRun> run_;
  const std::shared_ptr<LaneTeam> team_;
  std::optional<SourceSide> source_;
  std::optional<SinkSide> sink_;
  DualOrder order_;
  DualNumbering numbering_;
  RatioTalk ratios_;
  engine::LaneStats lane_stats_;
  std::chrono::steady_clock::time_point path_measured_at_ = std::chrono::steady_clock::now();
  std::uint64_t path_measured_bytes_ = 0;
  std::uint64_t path_holds_ = 0;  // bandwidth-delay product, bytes
  bytes::IntervalSet withheld_;
  std::uint64_t processed_ = 0;
  bool pipe_;      // numbered messages go by datagrams too
  bool answered_;  // else the pipe's messages wait: what keeps their order keeps them, within its bounds
  bool delivered_ = false;
  bool closed_ = false;
};

}  // namespace penstock::control
