#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/digest/digest.h"
#include "common/error.h"
#include "common/units.h"
#include "dataplane/engine/sink_window.h"
#include "dataplane/storage/manifest_entry.h"
#include "dataplane/storage/verdict.h"

namespace penstock::storage {

enum class Overwrite : std::uint8_t { never = 1, skip = 2, changed = 3, always = 4 };  // as transfer.proto

/// Verdicts on a stretch of the manifest.
struct SinkVerdicts {
  std::uint64_t decided = 0;            // every entry below it is decided: send, unless listed
  std::vector<Verdict> exceptions;      // ascending by index
  std::vector<std::uint64_t> replaces;  // entries that will take the place of something; ascending, for people
  TransferOffset space_end;             // files decided so far end here: Receiver::expect
  std::vector<TransferRange> withhold;  // holes, held blocks, entries not wanted: Receiver::withhold, before expect
};

/// What stands in the way of publishing. Empty: nothing, commit() may follow.
struct AuditResult {
  std::vector<EntryBlocks> repair;    // missing or mismatched blocks, ascending; at most repair_runs_max runs
  std::vector<TransferRange> forget;  // the same bytes in transfer space, without holes: Receiver::forget
};
inline constexpr std::size_t repair_runs_max = 16384;

struct SinkTotals {
  std::uint64_t files = 0;           // regular files that are complete under their names, earlier runs' included
  std::uint64_t bytes = 0;           // sent + resumed + skipped
  std::uint64_t bytes_received = 0;  // of files by this run, for the first time
  std::uint64_t bytes_resumed = 0;   // durable from an earlier run; holes count with what their file is
  std::uint64_t bytes_skipped = 0;
  std::uint64_t files_skipped = 0;
  std::uint64_t files_failed = 0;
};

struct SinkProgress {
  std::uint64_t bytes_written = 0;  // handed to the file system
  std::uint64_t bytes_durable = 0;  // of bytes_written: claimed by the journal, or published
  std::size_t slabs_waiting = 0;    // handed over, not yet written: the target disk is what limits
};

/// News from the sink. All calls come on the worker, through PostToWorker; none after close() returned.
class SinkObserver {
 public:
  virtual ~SinkObserver() = default;
  /// Answers on_entries, in order; comes at least once for each call of it.
  virtual void on_verdicts(SinkVerdicts verdicts) = 0;
  /// One entry can not be completed (no space for it, a name that collides, a target that appeared meanwhile). Its
  /// bytes may still arrive and are dropped.
  virtual void on_entry_failed(std::uint64_t index, const Error& error) = 0;
  /// A file is verified, durable and under its name.
  virtual void on_file_finished(FileReport report) = 0;
  /// Slabs came back: Receiver::on_sink_room.
  virtual void on_room() = 0;
  virtual void on_audited(AuditResult result) = 0;
  /// Everything that could be completed is published and durable. What remembers the transfer stays, so that the same
  /// command finds its own files and not "existing" ones; the owner ends it once nobody will ask again.
  virtual void on_committed(SinkTotals totals) = 0;
  /// The manifest is nonsense, or the target as a whole can not be written (NO_SPACE, IO_ERROR after a failed sync):
  /// the transfer ends; what was durable stays for a resume.
  virtual void on_sink_failed(const Error& error) = 0;
};

/// Where a transfer's files go. A store of another kind implements this.
/// Order: on_entries ... on_manifest_end; data through window(); on_digests; when the source has finished and the
/// engine is drained: audit -> on_audited; repair rounds, each with an audit; then commit -> on_committed; close.
/// Threads: every call on the worker, never blocking.
class Sink {
 public:
  virtual ~Sink() = default;
  /// For Receiver and its driver; lives as long as the sink.
  [[nodiscard]] virtual engine::SinkWindow& window() = 0;
  /// The same for lane `lane` of several; 0: window(). Used on that lane's worker. Requires: lane < the ways that the
  /// sink was made with.
  [[nodiscard]] virtual engine::SinkWindow& window_of(std::size_t /*lane*/) { return window(); }
  /// On that lane's worker: these bytes will not come by it any more; what has come of them is handed on.
  virtual void on_given_up(std::size_t /*lane*/, TransferRange /*range*/) {}
  /// Entries as they came from the peer; validated here. `first_index` must be what has come so far (a repeated
  /// segment is the caller's to drop).
  virtual void on_entries(std::uint64_t first_index, std::vector<ManifestEntry> entries) = 0;
  /// The source has said that it left something out: a root of the command may be missing at the manifest's end.
  virtual void on_left_out() {}
  /// The peer says that the manifest is complete.
  virtual void on_manifest_end(std::uint64_t entries, std::uint64_t bytes) = 0;
  /// The source's digests. Positions that do not exist end the transfer (on_sink_failed).
  virtual void on_digests(DigestRun run) = 0;
  /// The source can not send this entry (SOURCE_CHANGED, vanished), or repair was given up: its partial goes away.
  virtual void fail_entry(std::uint64_t index, Error error) = 0;
  /// Writes all that has come, checks every block of every wanted file against the source's digests (blocks held from
  /// an earlier run against the journal's), and tells what is missing. Files without gaps are published meanwhile.
  virtual void audit() = 0;
  /// Publishes what is left, then links, then directories' metadata, deepest first; syncs. Requires: the last audit
  /// was empty, but for entries that failed since.
  virtual void commit() = 0;
  /// Makes what has arrived durable and records it, for a resume: `done` is called on the worker afterwards. For a
  /// signal or a lost peer; may take as long as the disk does.
  virtual void checkpoint(std::function<void()> done) = 0;
  /// The measured bandwidth-delay product of the path, so that slabs, and with them the credit, can follow it.
  virtual void on_bandwidth_delay_product(std::uint64_t /*bytes*/) {}
  /// No callback follows. Slabs go back; what is not durable is forgotten; the journal stays unless committed.
  virtual void close() = 0;
  [[nodiscard]] virtual SinkProgress progress() const = 0;
};

}  // namespace penstock::storage
