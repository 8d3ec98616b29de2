#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "control/transfer/entry_news.h"
#include "control/transfer/held_bytes.h"
#include "control/transfer/side_host.h"
#include "dataplane/storage/source_reader.h"

namespace penstock::control {

// Specification.
inline constexpr std::uint32_t repair_rounds_max = 3;
// Tuning: a segment is small enough to reach the sink within a round trip of a slow path, and to share the pipe.
inline constexpr std::size_t manifest_segment_bytes = 32 * 1024;
inline constexpr std::size_t walk_entries = 512;

struct SourceSideConfig {
  bool await_verdicts = false;  // TransferOpened: no byte of an entry is offered before the sink's verdict on it
  bool dry_run = false;         // manifest and verdicts alone
  bool report_entries = false;  // on_entry for links and for what is skipped, too
};

/// What the source knows when the sink has committed.
struct SourceTotals {
  std::uint64_t entries = 0;
  std::uint64_t files_failed = 0;            // left out at either end, warnings of the walk included
  std::optional<std::uint64_t> bytes_total;  // of all files of the manifest, once it is complete
  std::uint64_t files_total = 0;             // regular files of the manifest so far
  std::optional<Error> refusal;              // dry run: what would end the transfer, the first of them
};

/// The sending role of one transfer, as a state machine: streams the manifest, offers what the sink wants, sends
/// digests after the bytes, answers repair rounds, and ends with the sink's Commit. Push: the client's; pull: the
/// daemon's.
///
///   idle --start--> walking
///   walking --manifest complete--> sending --all read, all decided--> finishing --Commit--> committed
///                                     ^------------- RepairList (rounds 1-3) ------'
///   any --error of ours or of the peer--> failed
///
/// Pure but for the reader, which it drives and which calls back. Threads: the lane's worker.
class SourceSide final : public storage::SourceObserver {
 public:
  SourceSide(SourceSideConfig config, SideHost& host, SenderLane& lane);

  /// `reader` was made with this as its observer. Starts the walk. Before this the side is deaf to messages and events.
  void start(std::shared_ptr<storage::SourceReader> reader);
  /// One message of the sink, in order. Anything that no sink sends ends the transfer.
  void handle(const proto::Envelope& envelope);
  /// The engine's event: everything below `end` is acknowledged or withheld.
  void on_drained(TransferOffset end);
  /// What the config presumed was too bold: from now on no byte of an entry is offered before the sink's verdict.
  /// What was offered stays so, and is withheld as verdicts say.
  void await_verdicts() { config_.await_verdicts = true; }
  /// SideHost::has_room has become true.
  void on_room();
  /// No call to host or lane follows.
  void close();

  [[nodiscard]] bool committed() const { return state_ == State::committed; }
  [[nodiscard]] const proto::Commit& commit() const { return commit_; }
  [[nodiscard]] const SourceTotals& totals() const { return totals_; }
  [[nodiscard]] std::uint64_t files_read() const { return files_read_; }
  /// The sink had these from earlier sessions, as far as it has decided; with `all_decided` that is all of it.
  [[nodiscard]] std::uint64_t bytes_held() const { return held_.bytes(); }
  [[nodiscard]] bool all_decided() const { return totals_.bytes_total && decided_ == totals_.entries; }
  /// Of bytes_total, of files that were left out while they were sent: nobody waits for them any more.
  [[nodiscard]] std::uint64_t bytes_given_up() const { return bytes_given_up_; }
  /// Entries that are not in the receipt, though this end may have read them.
  [[nodiscard]] const std::set<std::uint64_t>& left_out() const { return dropped_; }

  // storage::SourceObserver
  void on_entries(std::uint64_t first_index, std::vector<storage::ManifestEntry> entries,
                  std::vector<storage::SourceWarning> warnings, std::uint64_t bytes, bool end) override;
  void on_source_failed(const Error& error) override;
  void on_released(TransferOffset end, std::vector<TransferRange> withhold) override;
  void on_resend(std::vector<TransferRange> ranges) override;
  void on_resident() override;
  void on_digests(storage::DigestRun run) override;
  void on_file_read(storage::FileReport report) override;
  void on_file_failed(std::uint64_t index, TransferRange range, const Error& error) override;
  void on_all_read() override;

 private:
  enum class State : std::uint8_t { idle, walking, sending, finishing, committed, failed };

  void fail(Error error);
  void fail_peer(std::string_view what);
  void walk_on();
  void release(std::uint64_t decided, std::vector<storage::Verdict> exceptions, std::optional<std::uint64_t> gives_up);
  void send_failure(std::uint64_t index, TransferRange range, const Error& error);
  void maybe_finish_lane();
  void maybe_send_finish();
  void handle_verdicts(const proto::Verdicts& verdicts);
  void handle_repair(const proto::RepairList& list);
  void handle_entry_failure(const proto::EntryFailure& failure);

  SourceSideConfig config_;
  SideHost& host_;
  SenderLane& lane_;
  std::shared_ptr<storage::SourceReader> reader_;
  State state_ = State::idle;
  bool walk_requested_ = false;
  std::uint64_t decided_ = 0;
  TransferOffset offered_;
  std::optional<TransferOffset> drained_;
  bool lane_finished_ = false;
  bool all_read_ = false;
  struct Release {
    bool grows = false;                     // the reader has more to read, and tells again when it has
    std::optional<std::uint64_t> gives_up;  // this entry alone is withheld
  };
  std::deque<Release> releases_;  // asked of the reader and not answered; at most one a message in flight
  std::uint64_t released_ = 0;
  std::map<std::uint64_t, Error> given_up_;  // by the sink; until the reader has told the range
  EntryNews entry_news_;
  HeldBytes held_;
  std::uint64_t bytes_given_up_ = 0;
  std::uint32_t round_ = 0;
  SourceTotals totals_;
  std::vector<storage::SourceWarning> warnings_;
  std::uint64_t files_read_ = 0;
  std::vector<storage::FileReport> reports_;  // until the commit, if anybody asks (-v)
  std::set<std::uint64_t> dropped_;           // entries that are not in the receipt; bounded by the manifest
  proto::Commit commit_;
};

}  // namespace penstock::control
