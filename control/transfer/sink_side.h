#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "control/transfer/entry_news.h"
#include "control/transfer/held_bytes.h"
#include "control/transfer/side_host.h"
#include "control/transfer/source_side.h"
#include "dataplane/storage/sink.h"

namespace penstock::control {

struct SinkSideConfig {
  bool dry_run = false;         // verdicts alone
  bool report_entries = false;  // on_entry for links and for what is skipped, too
};

/// The receiving role of one transfer, as a state machine: hands manifest and digests to the sink, answers with
/// verdicts, asks for repair at most three times, commits. Push: the daemon's; pull: the client's.
///
///   idle --start--> receiving
///   receiving --Finish and all bytes here--> auditing --nothing missing--> committing --> committed
///       ^------------ something missing: RepairList (rounds 1-3) --'
///   any --error of ours or of the peer, or a conflict with what exists--> failed
///
/// Pure but for the sink, which it drives and which calls back. Threads: the lane's worker.
class SinkSide final : public storage::SinkObserver {
 public:
  SinkSide(SinkSideConfig config, SideHost& host, ReceiverLane& lane);

  /// `sink` was made with this as its observer. Before this the side is deaf to messages and events.
  void start(std::shared_ptr<storage::Sink> sink);
  /// One message of the source, in order. Anything that no source sends ends the transfer.
  void handle(const proto::Envelope& envelope);
  /// The engine's event: everything below `end` has arrived or is withheld.
  void on_drained(TransferOffset end);
  /// For an interruption: what has arrived becomes durable, then `done`, on the worker. A commit that has begun is
  /// carried through first, and told of as ever.
  void checkpoint(std::function<void()> done);
  /// For the sink's slabs: what the path holds, measured.
  void on_bandwidth_delay_product(std::uint64_t bytes);
  /// No call to host or lane follows; the sink is let go of.
  void close();

  [[nodiscard]] bool committed() const { return state_ == State::committed; }
  /// Requires: committed(), or the end of a dry run.
  [[nodiscard]] const storage::SinkTotals& totals() const { return totals_; }
  [[nodiscard]] std::optional<std::uint64_t> bytes_total() const { return bytes_total_; }
  [[nodiscard]] std::optional<std::uint64_t> files_total() const;
  /// Entries received and not yet decided: the session stops reading while it is large.
  [[nodiscard]] std::uint64_t backlog() const { return entries_ - decided_; }
  [[nodiscard]] std::uint64_t files_finished() const { return files_finished_; }
  [[nodiscard]] std::uint64_t entries_failed() const { return failed_; }
  /// As SourceSide's.
  [[nodiscard]] std::uint64_t bytes_held() const { return held_.bytes(); }
  [[nodiscard]] bool all_decided() const { return bytes_total_ && decided_ == entries_; }
  [[nodiscard]] std::uint64_t bytes_given_up() const { return bytes_given_up_; }
  /// The first file that three repair rounds could not mend, or a dry run's first conflict: the exit's reason.
  [[nodiscard]] const std::optional<Error>& lasting_error() const { return lasting_error_; }
  [[nodiscard]] storage::SinkProgress progress() const;

  // storage::SinkObserver
  void on_verdicts(storage::SinkVerdicts verdicts) override;
  void on_entry_failed(std::uint64_t index, const Error& error) override;
  void on_file_finished(storage::FileReport report) override;
  void on_room() override;
  void on_audited(storage::AuditResult result) override;
  void on_committed(storage::SinkTotals totals) override;
  void on_sink_failed(const Error& error) override;

 private:
  enum class State : std::uint8_t { idle, receiving, auditing, committing, committed, failed };

  void fail(Error error);
  void fail_peer(std::string_view what);
  [[nodiscard]] bool over() const { return state_ == State::failed || state_ == State::committed; }
  void handle_segment(const proto::ManifestSegment& segment);
  void handle_end(const proto::ManifestEnd& end);
  /// All that there is could not be made, a single file at the least: no transfer that is partly done.
  [[nodiscard]] bool nothing_made() const { return bytes_total_ && unmade_ > 0 && unmade_ == entries_; }
  void maybe_finish_lane();
  void maybe_audit();
  void send_failure(std::uint64_t index, const Error& error);

  SinkSideConfig config_;
  SideHost& host_;
  ReceiverLane& lane_;
  std::shared_ptr<storage::Sink> sink_;
  State state_ = State::idle;
  std::uint64_t entries_ = 0;  // received
  std::uint64_t files_ = 0;    // regular ones of them
  std::uint64_t decided_ = 0;
  std::uint64_t described_end_ = 0;           // of transfer space, by the entries received
  TransferOffset space_end_;                  // by the entries decided
  std::optional<std::uint64_t> bytes_total_;  // once the manifest is complete
  std::optional<TransferOffset> drained_;
  bool lane_finished_ = false;
  bool finish_received_ = false;
  std::uint32_t round_ = 0;
  std::uint64_t failed_ = 0;
  std::uint64_t files_finished_ = 0;
  std::set<std::uint64_t> failed_entries_;  // at either end; each is told of once
  EntryNews entry_news_;
  HeldBytes held_;
  std::uint64_t bytes_given_up_ = 0;
  std::function<void()> when_committed_;  // an interruption that came too late
  std::uint64_t unmade_ = 0;              // entries that the sink could not make
  std::optional<Error> first_unmade_;     // why
  std::optional<Error> lasting_error_;
  storage::SinkTotals totals_;
};

}  // namespace penstock::control
