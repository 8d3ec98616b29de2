#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/digest/sha256.h"
#include "common/digest/xxh3.h"
#include "dataplane/storage/executor.h"
#include "dataplane/storage/file_digest.h"
#include "dataplane/storage/manifest_store.h"
#include "dataplane/storage/slab_pool.h"
#include "dataplane/storage/source.h"
#include "dataplane/storage/source_reader.h"
#include "dataplane/storage/verdict.h"

namespace penstock::storage {

using SharedSlab = std::shared_ptr<Slab>;

/// Of a file that ends before the manifest says so. Which one, the reader adds.
[[nodiscard]] inline Error became_shorter() {
  return {ErrorCode::SOURCE_CHANGED, "it became shorter while it was being sent; send it again when it is at rest"};
}

/// Bytes that came into memory: transfer space, within slab `number`.
struct FilledRanges {
  std::uint64_t number = 0;
  SharedSlab slab;
  std::vector<TransferRange> ranges;
  bool by_pass = false;  // the pass may go on in this slab, behind what it has filled
};

/// A few bytes that were read again for a repeat, when the slab around them had made room.
struct Patch {
  TransferOffset at;
  std::shared_ptr<std::vector<std::byte>> bytes;  // empty: could not be read
};

/// What the reading strand tells the worker's half. With on_reread and on_pass_stopped the strand holds none of the
/// slabs any more: whoever drops one then has room for another.
class ReaderListener {
 public:
  virtual ~ReaderListener() = default;
  virtual void on_filled(FilledRanges filled) = 0;
  /// The pass stopped: for want of slabs, or (`waits_for_release`) because everything released has been read.
  virtual void on_pass_stopped(std::vector<Slab> unused, std::uint64_t next_number, bool waits_for_release) = 0;
  virtual void on_reread(std::uint64_t number) = 0;
  /// What patch(`asked`) brought: at most as much.
  virtual void on_patched(TransferRange asked, Patch patch) = 0;
  virtual void on_files_read(std::vector<FileReport> reports) = 0;
  [[nodiscard]] virtual SourceObserver& observer() = 0;
  virtual void on_range_failed(std::uint64_t index, TransferRange range, Error error) = 0;
};

/// The strand's half of a source reader. One pass goes over all released files in transfer order and digests what it
/// reads; what left memory too early, or is asked for out of order, is read again without digesting. Blocks that the
/// far end holds are read in the background, in small steps between the others. Threads: the reading strand alone;
/// walk() on its own strand.
class ReaderCore : public std::enable_shared_from_this<ReaderCore> {
 public:
  /// Runs on the worker, unless the reader was closed.
  using Tell = std::function<void(std::function<void(ReaderListener&)>)>;

  ReaderCore(const SourceReaderConfig& config, std::unique_ptr<Source> source, StorageExecutor& executor, Tell tell);

  [[nodiscard]] Strand& strand() { return strand_; }
  [[nodiscard]] Strand& walk_strand() { return walk_strand_; }

  void walk(std::size_t entries_max);
  void release(std::uint64_t decided, const std::vector<Verdict>& exceptions);
  /// Reads on from where the pass stands: into `begun` while that slab lasts, then into `fresh`.
  void run_pass(std::optional<std::pair<std::uint64_t, SharedSlab>> begun, std::vector<Slab> fresh);
  /// Reads what was released of one slab once more.
  void reread(std::uint64_t number, SharedSlab slab);
  /// Reads these bytes of one slab once more, into memory of their own.
  void patch(TransferRange range);
  void resend(const std::vector<EntryBlocks>& blocks);
  void abandon(std::uint64_t index);
  void close();

 private:
  /// What the far end wants of a file.
  enum class Want : std::uint8_t { all, part, digest_only, nothing };
  struct Planned {
    Want want = Want::all;
    std::vector<BlockRun> held;
  };
  /// A file whose digest needs the background too.
  struct LateFile {
    FileDigestBuilder builder;
    std::vector<std::uint64_t> blocks;  // to be read
    std::size_t next = 0;
    bool tell_digests = false;
    bool passed = false;                           // the pass is through with it
    std::optional<digest::Sha256Hasher> sha = {};  // reads the whole file instead of `blocks`
    std::uint64_t sha_at = 0;
  };
  /// Where the pass is inside a file.
  struct Current {
    std::uint64_t index = 0;
    std::shared_ptr<const ManifestEntry> entry;
    std::uint64_t begin = 0;  // in transfer space
    std::uint64_t at = 0;     // in the file
    std::size_t hole = 0;     // first hole that does not end before `at`
    Planned plan;
    std::unique_ptr<SourceFile> file;
    FileDigestBuilder builder{0};
    std::optional<digest::Sha256Hasher> sha;
  };

  [[nodiscard]] Planned plan_of(std::uint64_t index) const;
  void set_plan(std::uint64_t index, Planned plan);
  void drop_plan(std::uint64_t index);
  /// A late verdict: the far end holds these blocks of the file that the pass stands in. Those begun are read to the
  /// end.
  void hold_rest_of_current(std::vector<BlockRun> held);
  [[nodiscard]] bool begin_next_file();
  /// Moves over what needs no reading (holes, held blocks). True: the pass is at a byte to be read.
  [[nodiscard]] bool skip_to_data();
  /// Requires: at a byte to be read. Reads on to `limit` or the end of the file.
  void read_current(std::uint64_t limit, FilledRanges& into);
  void digest_part(std::span<const std::byte> part);
  void digest_hole(std::uint64_t length);
  void end_block_if_reached();
  void finish_current();
  [[nodiscard]] bool is_held(std::uint64_t block) const;
  void add_digest(std::uint64_t index, std::uint64_t block, const digest::Xxh3& digest);
  void add_sum(const digest::Sha256& sum);
  [[nodiscard]] bool digests_due() const;
  void flush_digests();
  void fail_file(std::uint64_t index, Error error);
  [[nodiscard]] Result<SourceFile*> open_cached(std::uint64_t index, const ManifestEntry& entry);
  [[nodiscard]] Status check_unchanged(SourceFile& file, const ManifestEntry& entry) const;
  void report_file(std::uint64_t index, const ManifestEntry& entry, const digest::Digest& digest);
  void flush_reports();

  /// Reads what was released of `range` into `room`, which begins with it. What was filled, in order.
  [[nodiscard]] std::vector<TransferRange> read_again(TransferRange range, std::span<std::byte> room);
  [[nodiscard]] std::uint64_t released_end() const;
  void resend_step();
  void resend_some(const std::vector<EntryBlocks>& blocks);
  void queue_late(std::uint64_t index, LateFile late);
  /// A file of which no byte was sent: all of it is read in the background.
  [[nodiscard]] bool begin_late_whole();
  void run_late();
  void late_step(std::uint64_t index, LateFile& late);
  void finish_late(std::uint64_t index, LateFile& late);
  void tell_if_all_read();
  void withhold_rest(std::uint64_t index, std::vector<TransferRange>& withhold) const;

  SourceReaderConfig config_;
  std::unique_ptr<Source> source_;
  Tell tell_;
  Strand strand_;
  Strand walk_strand_;
  ManifestStore store_;
  bool closed_ = false;

  std::uint64_t released_ = 0;  // entries
  // Exceptions by entry, dropped once the pass is by; whole runs of entries have the same.
  std::map<std::uint64_t, Planned> plans_parts_;
  bytes::IntervalSet plans_digest_only_;
  bytes::IntervalSet plans_nothing_;
  bytes::IntervalSet failed_;      // files that could not be read
  std::uint64_t next_index_ = 0;   // the pass: first entry not begun
  std::uint64_t pass_number_ = 0;  // slab that the pass was in last
  std::optional<Current> current_;
  digest::Xxh3Hasher block_hasher_;
  DigestRun run_;  // digests not told yet
  std::chrono::steady_clock::time_point digests_told_at_{};
  std::uint64_t run_index_ = 0;  // file of its last digest
  std::uint64_t run_block_ = 0;
  bool run_broken_ = false;          // a file without digests came by: the run can not go on
  std::vector<FileReport> reports_;  // of files that were read, not told yet

  std::deque<EntryBlocks> resend_queue_;      // of a repair round, what is still to be read
  std::vector<TransferRange> resend_ranges_;  // what has been
  std::map<std::uint64_t, LateFile> late_;
  bytes::IntervalSet late_whole_;  // entries of files that are to be read whole, once `late_` is done
  bool late_running_ = false;
  bool all_read_told_ = false;
  std::vector<std::byte> scratch_;
  std::optional<std::pair<std::uint64_t, std::unique_ptr<SourceFile>>> reread_file_;
};

}  // namespace penstock::storage
