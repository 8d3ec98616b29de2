#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "control/proto/gate.pb.h"
#include "control/session/async_event.h"
#include "control/session/data_switch.h"
#include "control/session/mark_watch.h"
#include "control/session/session_link.h"
#include "control/transfer/receipt_spool.h"
#include "control/transfer/sink_side.h"
#include "control/transfer/source_side.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/io/worker.h"

namespace penstock::control {

// Tuning: what one session may have under way between the control thread and the worker.
inline constexpr std::uint64_t inbound_messages_max = 64;
inline constexpr std::uint64_t manifest_backlog_max = 16384;  // entries received and not decided
inline constexpr std::size_t outbound_bytes_max = std::size_t{1} * 1024 * 1024;

enum class TransferRole : std::uint8_t { source, sink };

/// How a transfer stands, as one end sees it.
struct RunStats {
  engine::LaneStats lane;
  storage::SinkProgress sink;        // of our own sink
  std::uint64_t bytes = 0;           // the receiver has them, durable or not, or needs none: as the lane knows it
  std::uint64_t bytes_withheld = 0;  // of `bytes`: resumed, skipped, holes
  std::uint64_t bytes_held = 0;      // of those: durable from earlier sessions, as far as the sink has decided
  bool all_decided = false;          // and it has decided on all
  std::uint64_t bytes_by_udp = 0;    // of those that were moved in this session, repairs apart
  std::uint64_t bytes_by_tcp = 0;
  std::optional<std::uint64_t> bytes_total;  // without files that were left out
  std::uint64_t files = 0;                   // sink: complete under their names; source: read
  std::optional<std::uint64_t> files_total;
};

/// How a transfer ended at one end.
struct RunOutcome {
  std::optional<Error> failed;  // else everything is committed
  proto::Commit commit;         // source: what the sink said
  SourceTotals source;
  storage::SinkTotals sink;
  std::uint64_t entries_failed = 0;        // either role
  std::optional<Error> lasting_error;      // sink: a file that repair could not mend; a dry run's first conflict
  std::shared_ptr<ReceiptSpool> receipts;  // what finished, as RunConfig gave it
  std::set<std::uint64_t> left_out;        // entries that are not in the receipt all the same
};

/// A lane beyond the first, with a worker of its own.
struct LaneSeat {
  engine::LaneKeys keys;
  io::Worker* worker = nullptr;  // outlives the run
  storage::PostToWorker post;    // storage's way there
};

/// What a run is made of. Engines are built from `keys` here; reader and sink by the owner, who knows the store.
struct RunConfig {
  TransferRole role = TransferRole::source;
  ConnectionId own;                      // LaneKeys::own_id
  std::optional<io::Endpoint> peer;      // nullopt: learnt from its first datagram
  std::optional<engine::LaneKeys> keys;  // nullopt: a dry run has no lane
  engine::SenderConfig sender;
  engine::ReceiverConfig receiver;
  SourceSideConfig source_side;
  SinkSideConfig sink_side;
  std::vector<LaneSeat> more_lanes;   // with `keys` alone
  DataPolicy data = DataPolicy::udp;  // as agreed on; with `tcp` there is no `peer`
  /// Role source. The ways: to the lanes of `more_lanes`.
  std::function<std::shared_ptr<storage::SourceReader>(storage::SourceObserver&,
                                                       std::vector<storage::SourceReader::LaneWay>)>
      make_reader;
  /// Role sink. Likewise.
  std::function<std::shared_ptr<storage::Sink>(storage::SinkObserver&, const std::vector<storage::PostToWorker>&)>
      make_sink;
  std::shared_ptr<ReceiptSpool> receipts;  // to which reader or sink report; nullptr in a dry run
  bool report_entries = false;
  /// The daemon's answer is still to come, and presumed: TransferRun::confirm follows. One lane alone, whose bytes
  /// begin by UDP. Role sink: until then what comes is kept in memory, and nothing is made of it.
  bool ahead = false;
};

/// One transfer over one session at one end: joins the link (control thread) with the side and the lane (worker).
/// Threads: the control thread; what lives on the worker is inside. Lifetime: async_close before the last reference
/// goes; the worker and the executor of storage outlive it.
class TransferRun : public std::enable_shared_from_this<TransferRun> {
 public:
  /// Starts at once. `link` must stay until async_close has returned.
  static std::shared_ptr<TransferRun> start(RunConfig config, io::Worker& worker, std::shared_ptr<SessionLink> link);
  ~TransferRun();

  /// RunConfig::ahead: the answer is here, and says whether verdicts are to be awaited (role source). Only from now on
  /// is it judged whether UDP gets through. Requires, as async_deliver does: the daemon is proven.
  void confirm(bool await_verdicts);

  /// Hands on a numbered message that came by TCP; returns when more may come (backpressure).
  asio::awaitable<Status> async_deliver(proto::Envelope envelope);
  /// The same for a message of is_about_data, which has no number.
  asio::awaitable<Status> async_deliver_data(proto::Envelope envelope);
  /// Sends a numbered message of our own, after all that the side has sent: Commit and receipt.
  void send(proto::Envelope envelope);

  /// Role source: what the other end says of itself, in SinkProgress.
  void on_sink_limit(std::string_view limit) { data_->set_sink_busy(limit == "receiver_cpu"); }

  /// Notified when stats, outcome or receipt have changed.
  [[nodiscard]] AsyncEvent& changed() { return changed_; }
  [[nodiscard]] const RunStats& stats() const { return stats_; }
  [[nodiscard]] const std::optional<RunOutcome>& outcome() const { return outcome_; }
  [[nodiscard]] RunOutcome take_outcome() { return std::move(*outcome_); }
  [[nodiscard]] const std::optional<proto::ReceiptHeader>& receipt() const { return receipt_; }
  /// An authentic datagram of the peer has arrived.
  [[nodiscard]] bool peer_heard() const { return peer_heard_; }
  /// By which way file bytes go at the moment.
  [[nodiscard]] DataWay data_way() const { return data_->way(); }
  /// Called on the control thread.
  std::function<void(const WayOrder::Switch&)> on_data_turn;  // not for what was asked for
  std::function<void(const std::string&)> on_mark_news;       // MarkWatch, of the path of the data
  std::function<void(const Error&)> on_warning;
  std::function<void(const storage::FileReport&, storage::FileType, EntryOutcome)> on_entry;

  /// Lets go of the lane at once: no datagram of the peer is taken any more, and none is sent but the goodbye. What has
  /// arrived is kept, as by async_close, which is still to come.
  void cut_off();
  /// Ends the run: a sink makes durable what has arrived, the lane says goodbye and is let go of.
  asio::awaitable<void> async_close();

  class WorkerPart;

 private:
  TransferRun(io::Worker& worker, std::shared_ptr<SessionLink> link);
  asio::awaitable<void> send_loop();

  io::Worker& worker_;
  std::shared_ptr<SessionLink> link_;
  std::shared_ptr<WorkerPart> part_;
  std::shared_ptr<DataSwitch> data_;
  AsyncEvent changed_;
  AsyncEvent inbound_;
  AsyncEvent outbound_;
  AsyncEvent closed_;
  std::uint64_t inbound_pending_ = 0;
  std::deque<proto::Envelope> outbox_;
  bool sending_ = false;
  bool closing_ = false;
  bool part_closed_ = false;
  bool peer_heard_ = false;
  RunStats stats_;
  MarkWatch marks_;
  std::optional<RunOutcome> outcome_;
  std::optional<proto::ReceiptHeader> receipt_;
};

}  // namespace penstock::control
