#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/digest/sha256.h"
#include "dataplane/storage/block_tracker.h"
#include "dataplane/storage/early_digests.h"
#include "dataplane/storage/executor.h"
#include "dataplane/storage/inode_set.h"
#include "dataplane/storage/lane_windows.h"
#include "dataplane/storage/manifest_store.h"
#include "dataplane/storage/manifest_validator.h"
#include "dataplane/storage/posix_sink.h"
#include "dataplane/storage/slab_sink_window.h"
#include "dataplane/storage/target_judge.h"
#include "dataplane/storage/target_tree.h"

namespace penstock::storage {

// Tuning: more digests than this ahead of their bytes are repaired later; at 40 bytes each it is the most that a peer
// can make a sink keep of them. Files of 100 bytes, 50 MiB of them on the way, come to this.
inline constexpr std::size_t early_digests_max = 512 * 1024;

using SharedFd = std::shared_ptr<UniqueFd>;

/// Allocation ahead of the writes goes on beside them, and changes the file's time: it must be over before the file
/// gets its own. The lock is held for one fallocate at a time.
struct Allocation {
  std::mutex mutex;
  bool over = false;
};

/// One file between its first byte (or verdict `held`) and its name.
struct ActiveFile {
  ActiveFile(std::shared_ptr<const ManifestEntry> from, path::SafePath to)
      : entry(std::move(from)), target(std::move(to)), blocks(entry->size, entry->holes) {}

  std::shared_ptr<const ManifestEntry> entry;
  path::SafePath target;
  BlockTracker blocks;
  std::optional<path::Component> partial;
  bool created = false;   // the partial exists
  bool recorded = false;  // PartialCreated is in the journal
  bool replaces = false;
  bool metadata_set = false;
  bool queued = false;       // for publishing
  std::uint64_t device = 0;  // of the partial
  std::uint64_t inode = 0;
  std::uint64_t parent_device = 0;
  std::uint64_t parent_inode = 0;
  SharedFd fd;                                                     // nullptr while closed for others' sake
  std::vector<std::pair<std::uint64_t, digest::Xxh3>> unrecorded;  // verified blocks the journal does not know of
  std::uint64_t written_back = 0;                                  // bytes below it were given to write-back
  std::shared_ptr<Allocation> allocation;                          // nullptr: none was begun

  std::shared_ptr<digest::Sha256Hasher> sha;  // of bytes [0, sha_at); the verify strand has it while sha_busy
  std::uint64_t sha_at = 0;
  bool sha_busy = false;
  std::optional<digest::Sha256> sha_ours;
  std::optional<digest::Sha256> sha_theirs;

  /// Bytes that the sum has, or is being given by the verify strand, are replaced: it begins again. What comes of the
  /// hasher in flight is then nobody's.
  void restart_sha() {
    sha.reset();
    sha_at = 0;
    sha_busy = false;
    sha_ours.reset();
  }
  [[nodiscard]] bool large() const { return entry->size > block_size; }
};

/// The strand's half of PosixSink: everything that touches files. Its work is spread over sink_entries.cpp (verdicts),
/// sink_write.cpp (bytes), sink_digest.cpp (digests, held blocks), sink_sync.cpp (durability, publishing) and
/// sink_finish.cpp (audit, links, directories). Threads: the strand alone, but for the counters and what is said.
class SinkCore : public std::enable_shared_from_this<SinkCore> {
 public:
  /// Runs on the worker, unless the sink was closed.
  using Tell = std::function<void(std::function<void(SinkObserver&, LaneWindows&)>)>;

  SinkCore(PosixSinkConfig config, std::shared_ptr<Journal> journal, StorageExecutor& executor, const SlabPool& pool,
           TargetClaims& claims, FileCalls& calls, Tell tell);
  ~SinkCore();

  [[nodiscard]] Strand& strand() { return strand_; }
  void take_entries(std::uint64_t first_index, std::vector<ManifestEntry> entries);
  void take_left_out() { validator_.allow_missing_roots(); }
  void take_manifest_end(std::uint64_t entries, std::uint64_t bytes);
  void take_slab(FilledSlab slab);
  void take_digests(const DigestRun& run);
  void fail_entry(std::uint64_t index, const Error& error);
  void audit();
  void commit();
  void checkpoint(std::function<void()> done);
  void on_quiet() { start_sync(SyncReason::quiet); }
  void close();

  struct Counters {
    std::atomic<std::uint64_t> bytes_written{0};
    std::atomic<std::uint64_t> bytes_durable{0};
    std::atomic<std::size_t> slabs_waiting{0};
  };
  Counters counters;

 private:
  enum class EntryState : std::uint8_t {
    wanted,          // a file or link to come
    wanted_replace,  // the same, and something in its place may be replaced
    new_directory,   // gets its metadata at the end
    old_directory,
    finished,
    left_alone,  // skip, meta_only
    failed,      // or refused
  };
  enum class SyncReason : std::uint8_t { due, quiet, asked };
  struct Piece {
    std::uint64_t index;
    std::uint64_t file_offset;
    std::span<const std::byte> bytes;
  };
  struct SyncJob;

  // sink_entries.cpp
  void decide(std::uint64_t index, const ManifestEntry& entry, SinkVerdicts& verdicts,
              std::vector<std::uint64_t>& complete_from_start);
  [[nodiscard]] bool resume_partial(std::uint64_t index, const JournalFile& earlier, Verdict& verdict);
  [[nodiscard]] ActiveFile& activate(std::uint64_t index, const std::shared_ptr<const ManifestEntry>& entry);
  void fail_transfer(Error error);
  void fail_file(std::uint64_t index, Error error);
  void drop_active(std::uint64_t index);
  void drop_parked();
  /// False: the transfer has failed.
  [[nodiscard]] bool keep_report(const FileReport& report);
  void note_published(std::uint64_t device, std::uint64_t inode);
  /// Whether this transfer, or a part of it that an earlier run did, gave this inode a name.
  [[nodiscard]] Result<bool> is_published(std::uint64_t device, std::uint64_t inode) const;
  void drop_leftovers(const path::SafePath& target, const JournalFile& earlier);
  [[nodiscard]] TargetClaims::Target claim_of(const path::SafePath& target);
  /// False: it may still be there.
  [[nodiscard]] bool unlink_partial(const ActiveFile& file);

  // sink_write.cpp
  [[nodiscard]] std::size_t unnamed_files_allowed() const;
  void write_held_back();
  /// False: some of its runs are left, for the next step.
  [[nodiscard]] bool write_slab(FilledSlab& slab);
  void write_parked();
  [[nodiscard]] bool write_piece(ActiveFile& file, const Piece& piece);
  [[nodiscard]] Status write_all(int fd, std::span<const std::byte> bytes, std::uint64_t offset,
                                 const path::SafePath& target);
  void name_partial(ActiveFile& file);
  [[nodiscard]] Status ensure_open(std::uint64_t index, ActiveFile& file);
  void make_writable(int directory, ActiveFile& file);
  [[nodiscard]] Status create_partial(std::uint64_t index, ActiveFile& file);
  void allocate_ahead(ActiveFile& file);
  void write_back(ActiveFile& file, std::uint64_t end);
  [[nodiscard]] Status set_metadata(ActiveFile& file);
  [[nodiscard]] path::Component random_partial_name();

  // sink_digest.cpp
  void on_blocks_changed(std::uint64_t index, ActiveFile& file);
  void read_back(ActiveFile& file);
  void check_held(std::uint64_t index, ActiveFile& file);
  void follow_sha(std::uint64_t index, ActiveFile& file);
  void give_digests(std::uint64_t index, ActiveFile& file);

  // sink_sync.cpp
  void start_sync(SyncReason reason);
  void answer_checkpoints();
  void collect(SyncJob& job);
  void record(const std::shared_ptr<SyncJob>& job, int sync_result);
  void supersede(const path::SafePath& target, SyncJob& job);
  void publish(const std::shared_ptr<SyncJob>& job, const Status& synced);
  /// Directories as they are resolved now, for the names of one batch.
  using Resolved = std::map<std::string, HeldDirectory>;
  [[nodiscard]] Status give_name(const path::SafePath& target, const path::Component& partial, bool replaces,
                                 std::uint64_t parent_device, std::uint64_t parent_inode, Resolved& resolved);
  [[nodiscard]] Error why_unnamed(Error error, int parent, const path::SafePath& target) const;
  void fail_named(std::uint64_t index, Error error);
  void settle_named(SyncJob& job, std::uint64_t index, ActiveFile& file);
  void finish_sync(const std::shared_ptr<SyncJob>& job, int sync_result);

  // sink_finish.cpp
  void go_on_finishing();
  void answer_audit();
  struct PendingLink;
  struct LinkBatch;
  void make_links();
  [[nodiscard]] Status make_link_batch(LinkBatch& batch);
  void publish_links(LinkBatch& batch);
  void finish_directories();
  void settle_directories();
  void finish_commit(int sync_result);

  PosixSinkConfig config_;
  std::shared_ptr<Journal> journal_;  // shared with a sync in flight, and with the sink's owner
  StorageExecutor& executor_;
  const SlabPool& pool_;
  TargetClaims& claims_;
  FileCalls& calls_;
  Tell tell_;
  Strand strand_;
  Strand verify_;  // re-reads held blocks and follows SHA-256, beside the writing

  TargetTree tree_;
  TargetJudge judge_;
  ManifestStore store_;
  ManifestValidator validator_;
  bool manifest_ended_ = false;
  std::deque<EntryState> states_;  // one byte an entry, and no copy while it grows

  std::map<std::uint64_t, ActiveFile> active_;
  std::list<std::uint64_t> open_;                  // files with a descriptor, most recently opened last
  std::deque<FilledSlab> held_back_;               // written as the number of unfinished files allows
  std::deque<FilledSlab> parked_;                  // bytes that came before their entries
  EarlyDigests early_digests_{early_digests_max};  // of files not active yet
  std::map<std::uint64_t, digest::Sha256> early_sums_;
  std::vector<std::byte> names_;  // random bytes for partial names
  std::vector<std::byte> scratch_;

  std::vector<std::uint64_t> to_publish_;
  std::uint64_t unsynced_bytes_ = 0;
  bool sync_running_ = false;
  bool sync_again_ = false;
  std::chrono::steady_clock::time_point last_sync_;
  bool may_replace_ = false;  // something that stands in a file's place may go
  InodeSet published_;        // where it may

  std::size_t checks_running_ = 0;
  bool audit_asked_ = false;
  bool commit_asked_ = false;
  bool committing_ = false;
  std::uint64_t next_link_ = 0;  // of the commit: entries below it are no links, or were in a batch
  bool committed_ = false;
  std::vector<std::function<void()>> checkpoints_;          // answered by the next sync, or by the failure
  std::vector<std::function<void()>> checkpoints_in_sync_;  // of the sync in flight
  bool failed_ = false;
  bool closed_ = false;
  SinkTotals totals_;
};

}  // namespace penstock::storage
