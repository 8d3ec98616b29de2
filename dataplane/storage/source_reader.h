#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/digest/digest.h"
#include "common/units.h"
#include "dataplane/engine/ranges/extent_map.h"
#include "dataplane/engine/source_window.h"
#include "dataplane/storage/executor.h"
#include "dataplane/storage/manifest_store.h"
#include "dataplane/storage/slab_pool.h"
#include "dataplane/storage/source.h"
#include "dataplane/storage/verdict.h"

namespace penstock::storage {

/// News from the source side. All calls come on the worker, through PostToWorker; none after close() returned.
class SourceObserver {
 public:
  virtual ~SourceObserver() = default;
  /// Answer to request_entries: the next entries of the manifest, to be sent on. `bytes` is the end of transfer space
  /// with them. With `end` the manifest is complete.
  virtual void on_entries(std::uint64_t first_index, std::vector<ManifestEntry> entries,
                          std::vector<SourceWarning> warnings, std::uint64_t bytes, bool end) = 0;
  /// The walk, or the manifest's spill file, failed: the transfer can not go on.
  virtual void on_source_failed(const Error& error) = 0;
  /// Answer to release: hand to the engine's Sender, first every `withhold` (holes, held blocks, entries that are not
  /// wanted; may lie below earlier offers), then offer(`end`).
  virtual void on_released(TransferOffset end, std::vector<TransferRange> withhold) = 0;
  /// Answer to resend: hand to the engine's Sender.
  virtual void on_resend(std::vector<TransferRange> ranges) = 0;
  /// More bytes are resident: Sender::on_source_ready and another poll.
  virtual void on_resident() = 0;
  /// Digests of blocks as they were read; positions ascend within a file, each once, but again after a resend.
  virtual void on_digests(DigestRun run) = 0;
  /// A file has been read to its end, found unchanged, and has this digest.
  virtual void on_file_read(FileReport report) = 0;
  /// One file can not be sent: changed, vanished, unreadable. Its bytes are served as zeros until the far end knows, so
  /// that nothing waits for them; `range` may be withheld.
  virtual void on_file_failed(std::uint64_t index, TransferRange range, const Error& error) = 0;
  /// Every released file has been read and digested, or has failed. Comes again after more was released.
  virtual void on_all_read() = 0;
};

/// Whether blocks that the sink holds from an earlier run are read and digested too, in the background after all that
/// is to be sent. Without it their files get no on_file_read, since the digest of the whole can not be known.
/// Under sha256 the whole file is always read.
enum class HeldDigests : std::uint8_t { compute, skip };

struct SourceReaderConfig {
  digest::Algorithm algorithm = digest::Algorithm::xxh3;
  HeldDigests held_digests = HeldDigests::compute;
  int spill_directory = -1;          // borrowed: for the manifest's spill file; -1: memory
  std::size_t read_ahead_slabs = 4;  // at least so many beyond the frontier; some more as `retention` grows
  // What the pass digests is told no more often: each telling is a message that crosses four threads. It holds up no
  // byte; what is durable at the far end comes so much later.
  std::chrono::milliseconds digest_interval{5};
  KeepReport keep_report = {};  // of files that were read; some may be told of as failed later; may be empty
};

struct SourceReaderStats {
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_read_again = 0;  // evicted before they were acknowledged
  std::uint64_t misses = 0;            // resident() found nothing
};

/// The source of one transfer: walks, reads ahead into slabs, digests in cache, and lends to the engine's Sender what
/// is resident. Reading follows transfer order; holes are never read; small files share slabs, without a hop between
/// threads for each.
/// Several lanes: one pass reads for all of them, in transfer order, and each has a window of its own on its own
/// worker, into which come the slabs of its extents. No lane's window runs further ahead of the slowest than memory
/// allows. Order of use: request_entries, on_entries, (send them, await verdicts or not), release, on_released,
/// Sender::offer. Threads: every public call on the worker, never blocking; work on two strands of the executor, which
/// must outlive it. Held by shared_ptr, since tasks in flight keep it alive; the owner calls close() before it lets go.
/// Memory: slabs of its account, at most 1 MiB of manifest and digest state beside, and on lossy paths half a MiB a
/// lane for datagrams that are read again alone.
class SourceReader : public engine::SourceWindow {
 public:
  /// How a lane beyond the first is reached: its worker, and there its engine, which is told that bytes came.
  struct LaneWay {
    PostToWorker post;
    std::function<void()> on_resident;  // called on the lane's worker
  };
  /// `observer` is borrowed until close(). `post` leads to lane 0's worker, home; `more` to those of the others.
  [[nodiscard]] static std::shared_ptr<SourceReader> create(const SourceReaderConfig& config,
                                                            std::unique_ptr<Source> source, SlabAccount slabs,
                                                            StorageExecutor& executor, PostToWorker post,
                                                            SourceObserver& observer, std::vector<LaneWay> more = {});

  /// Walks on by about `entries_max` entries; one request at a time.
  virtual void request_entries(std::size_t entries_max) = 0;
  /// Every entry below `decided` is to be sent, but for `exceptions` (held, skip, meta_only, done_before, refuse).
  /// `decided` never falls. Without awaiting verdicts: release(all, {}) with each batch, then again with the exceptions
  /// as they come; a late exception withholds what is not sent yet. Indices beyond the manifest are ignored.
  virtual void release(std::uint64_t decided, std::vector<Verdict> exceptions) = 0;
  /// The window of lane `lane` > 0, used on that lane's worker. Lane 0's is this.
  [[nodiscard]] virtual std::shared_ptr<engine::SourceWindow> window_of(std::size_t /*lane*/) { return nullptr; }
  /// From now on what is read of these extents is for their new lane. The old one's slabs of them go.
  virtual void on_extents_moved(const engine::ExtentMove& /*move*/) {}
  /// Told how far each lane has sent, as the reader hears of it.
  virtual void on_frontier(std::function<void(std::size_t lane, TransferOffset frontier)> /*told*/) {}
  /// Nothing goes to this lane any more, or waits for it. Its extents move next.
  virtual void on_lane_over(std::size_t /*lane*/) {}
  /// A repair round: these blocks are read, digested and sent again. Blocks that do not exist are ignored.
  virtual void resend(std::vector<EntryBlocks> blocks) = 0;
  /// The far end can not complete this entry: nothing more of it is read.
  virtual void abandon(std::uint64_t index) = 0;
  /// No callback follows; outstanding work ends soon, slabs go back.
  virtual void close() = 0;
  [[nodiscard]] virtual SourceReaderStats stats() const = 0;
};

}  // namespace penstock::storage
