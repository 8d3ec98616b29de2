#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/digest/digest.h"
#include "common/path/safe_path.h"
#include "common/result.h"
#include "common/unique_fd.h"
#include "dataplane/storage/executor.h"
#include "dataplane/storage/file_calls.h"
#include "dataplane/storage/journal_store.h"
#include "dataplane/storage/sink.h"
#include "dataplane/storage/slab_pool.h"
#include "dataplane/storage/target_claims.h"

namespace penstock::storage {

/// How one SRC lands (CLI.md section 2). The words of the command, not what happens to exist, decide what becomes of a
/// directory, so that the same command resumes.
struct LandingRoot {
  std::string name;       // SRC's last name: used inside a container, and by a file whose DEST is a directory
  bool contents = false;  // SRC/. : its contents land in DEST
};

/// Where everything goes.
struct Destination {
  UniqueFd base;              // the grant's directory (daemon), or a directory of ours (client); never left
  path::SafePath path;        // DEST below base; may be the base itself
  bool is_container = false;  // DEST ended in '/', '.' or '..'
};

/// DEST of `pull` on this machine: a trusted path, links in it followed (but a link to anything except a directory in
/// the last place is the target itself). The base is always "/", so that the journal's paths stay the same while
/// missing parts of DEST come into being; put "/" into TransferIdentity::base.
[[nodiscard]] Result<Destination> open_local_destination(const std::string& destination);

struct PosixSinkConfig {
  Destination destination;
  std::vector<LandingRoot> roots;  // at least one
  Overwrite overwrite = Overwrite::never;
  digest::Algorithm algorithm = digest::Algorithm::xxh3;
  bool anew = false;               // what an earlier run left counts for nothing, but its targets are still ours
  bool dry_run = false;            // verdicts only; nothing is created, no journal needed
  std::size_t open_partials = 32;  // descriptors held; the least recently written is closed first
  int spill_directory = -1;        // borrowed: for the manifest's spill file; -1: memory
  KeepReport keep_report = {};     // of files that are durable under their names; may be empty
};

/// Files of a POSIX file system, exactly as DESIGN section 3: partials in the target's directory, a journal elsewhere,
/// nothing under a target's name before it is complete, verified and durable.
/// The journal outlives the commit: the caller keeps its share and calls Journal::finish() after on_committed, once
/// the receipt is where it belongs. The sink lets go of its own share, and both of the lock, some time after close().
/// Threads: see Sink; work on a strand, syncs on another thread of the executor. `journal` is nullptr in a dry run.
/// `claims` is the process's, and outlives the sink, as do `executor` and the slab pool. Held by shared_ptr, since
/// tasks in flight keep it alive; the owner calls close() before it lets go. `observer` is borrowed until then.
[[nodiscard]] std::shared_ptr<Sink> make_posix_sink(PosixSinkConfig config, std::shared_ptr<Journal> journal,
                                                    SlabAccount slabs, StorageExecutor& executor, TargetClaims& claims,
                                                    PostToWorker post, SinkObserver& observer,
                                                    FileCalls& calls = FileCalls::kernel());

/// The same for several lanes: the way to the worker of each, home's first.
[[nodiscard]] std::shared_ptr<Sink> make_posix_sink(PosixSinkConfig config, std::shared_ptr<Journal> journal,
                                                    SlabAccount slabs, StorageExecutor& executor, TargetClaims& claims,
                                                    std::vector<PostToWorker> workers, SinkObserver& observer,
                                                    FileCalls& calls = FileCalls::kernel());

}  // namespace penstock::storage
