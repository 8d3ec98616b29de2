#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/random.h"
#include "dataplane/storage/journal_store.h"
#include "dataplane/storage/posix_sink.h"
#include "dataplane/storage/posix_source.h"
#include "dataplane/storage/source_reader.h"

namespace penstock::storage::test {

/// The worker of a test: runs what storage posts to it, on the test's own thread.
class TestWorker {
 public:
  TestWorker() = default;
  TestWorker(const TestWorker&) = delete;
  TestWorker& operator=(const TestWorker&) = delete;
  /// What was posted and not run is dropped, as by a real one.
  ~TestWorker() {
    std::deque<std::function<void()>> dropped;  // outside of the lock
    const std::lock_guard lock{queue_->mutex};
    dropped.swap(queue_->tasks);
    queue_->closed = true;
  }
  [[nodiscard]] PostToWorker post();
  /// Runs what was posted until `done`; false when nothing comes for a minute.
  [[nodiscard]] bool run_until(const std::function<bool()>& done);
  /// Nothing is posted that was not run.
  [[nodiscard]] bool idle() const {
    const std::lock_guard lock{queue_->mutex};
    return queue_->tasks.empty();
  }

 private:
  struct Queue {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::function<void()>> tasks;
    bool closed = false;
  };
  std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
};

/// How a transfer of the harness goes wrong, or differently.
struct Plan {
  std::vector<std::string> sources;
  std::string destination;
  Overwrite overwrite = Overwrite::never;
  digest::Algorithm algorithm = digest::Algorithm::xxh3;
  Links links = Links::keep;
  bool dry_run = false;
  bool anew = false;
  bool await_verdicts = true;
  HeldDigests held_digests = HeldDigests::compute;
  std::chrono::milliseconds digest_interval{0};
  std::uint64_t seed = 1;
  std::size_t lanes = 1;                    // a window each at both ends; extents move between them at random
  bool shuffled = false;                    // bytes arrive in random order, some slabs are flushed early
  std::optional<std::uint64_t> stop_after;  // bytes on the way; then a checkpoint, and all is dropped
  bool stop_without_checkpoint = false;
  std::uint64_t corrupt_every = 0;  // flips a bit in every n-th chunk of the first round
  std::uint64_t lose_every = 0;     // loses every n-th chunk of the first round
  FileCalls* sink_calls = nullptr;
  SlabPool* pool = nullptr;             // of the process; nullptr: one of its own, as the next two say
  StorageExecutor* executor = nullptr;  // of the process; nullptr: one of its own
  std::size_t slabs_max = 64;
  std::size_t shared_slabs = 8;
  bool receipt_kept = true;  // false: all dies between the commit and the end of the journal
  std::function<void()> before_commit;
  std::function<void(std::vector<ManifestEntry>&)> forge;  // what a hostile source makes of its manifest
  std::string journal_directory;
  TransferIdentity identity;
};

struct Outcome {
  bool finished = false;  // anything but a hang
  std::optional<SinkTotals> totals;
  std::optional<Error> sink_error;
  std::optional<Error> source_error;
  std::vector<Verdict> exceptions;
  std::vector<SourceWarning> warnings;
  std::map<std::uint64_t, Error> entry_errors;  // of both sides
  std::map<std::uint64_t, FileReport> sink_files;
  std::map<std::uint64_t, FileReport> source_files;
  std::uint64_t bytes_on_wire = 0;
  std::uint64_t entries = 0;
  int digest_runs = 0;
  int rounds = 0;
  std::uint64_t extents_moved = 0;
  bool journal_finished = false;
};

/// Moves a tree from a PosixSource to a PosixSink as the two roles of a transfer would, with a wire between them that
/// does as `plan` says.
[[nodiscard]] Outcome run_transfer(const Plan& plan);

}  // namespace penstock::storage::test
