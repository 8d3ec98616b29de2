// Durability and publishing, one job at a time, so that writing never waits for a disk's flush:
//   strand: collect -> another thread: sync directories and data -> strand: record in the journal ->
//   another thread: sync the journal -> strand: judge what is replaced -> another thread: rename, sync the parents ->
//   strand: report.
// A crash between any two leaves what the next run understands: the journal never claims more than is durable, and says
// which inode is about to get a name before it gets it.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/check.h"
#include "common/escape.h"
#include "dataplane/storage/naming.h"
#include "dataplane/storage/partial_sweep.h"
#include "dataplane/storage/sink_core.h"

namespace penstock::storage {

namespace {

// How often what has arrived becomes durable: more often costs flushes, less often costs more to send again.
constexpr std::uint64_t sync_bytes = 64 * MiB;
constexpr std::chrono::milliseconds sync_interval{1000};
// Up to so many files an fsync each; above, one syncfs for all.
constexpr std::size_t fsync_files_max = 32;
constexpr std::size_t digests_per_record = 4096;

Error collision(const path::SafePath& target) {
  const std::string shown = target.absolute_text();
  return Error{ErrorCode::NAME_COLLISION,
               "another file of this transfer has the name " + escape_for_display(shown, 512) + " already", shown};
}

}  // namespace

struct SinkCore::SyncJob {
  struct Claim {
    std::uint64_t index = 0;
    std::vector<std::pair<std::uint64_t, digest::Xxh3>> blocks;
  };
  std::shared_ptr<Journal> journal;
  UnsyncedDirectories directories;
  std::vector<SharedFd> files;
  std::vector<Claim> claims;
  std::vector<std::uint64_t> publishes;
  std::uint64_t bytes = 0;
  std::vector<Naming> namings;  // of `publishes`, those that replace nothing
  std::vector<FileReport> reports;
  UnsyncedDirectories parents;
  std::vector<std::pair<path::SafePath, JournalFile>>
      superseded;  // earlier runs' partials of which we have better ones
};

void SinkCore::checkpoint(std::function<void()> done) {
  checkpoints_.push_back(std::move(done));
  if (failed_ || closed_ || config_.dry_run) return answer_checkpoints();
  start_sync(SyncReason::asked);
}

void SinkCore::answer_checkpoints() {
  for (auto* const waiting : {&checkpoints_in_sync_, &checkpoints_}) {
    for (auto& done : std::exchange(*waiting, {})) {
      tell_([done = std::move(done)](SinkObserver&, LaneWindows&) { done(); });
    }
  }
}

void SinkCore::start_sync(SyncReason reason) {
  if (failed_ || closed_ || config_.dry_run) return;
  if (sync_running_) {
    if (reason != SyncReason::due) sync_again_ = true;
    return;
  }
  if (to_publish_.empty() && unsynced_bytes_ == 0 && checkpoints_.empty()) return;
  if (reason == SyncReason::due && to_publish_.size() < unnamed_files_allowed() / 2 && unsynced_bytes_ < sync_bytes &&
      std::chrono::steady_clock::now() - last_sync_ < sync_interval) {
    return;
  }
  auto job = std::make_shared<SyncJob>();
  collect(*job);
  if (failed_) return;
  sync_running_ = true;
  executor_.post_sync([self = shared_from_this(), job] {
    int result = sync_directories(job->directories, self->calls_);
    for (const auto& fd : job->files) {
      if (result == 0) result = self->calls_.fsync(fd->get());
    }
    self->strand_.post([self, job, result] { self->record(job, result); });
  });
}

void SinkCore::collect(SyncJob& job) {
  job.journal = journal_;
  checkpoints_in_sync_ = std::exchange(checkpoints_, {});
  job.bytes = std::exchange(unsynced_bytes_, 0);
  bool everything = false;
  for (const auto index : std::exchange(to_publish_, {})) {
    auto& file = active_.at(index);
    if (!file.metadata_set) {
      Status ready = ensure_open(index, file);
      if (ready) ready = set_metadata(file);
      if (!ready) {
        fail_file(index, std::move(ready).error());
        if (failed_) return;
        continue;
      }
    }
    job.publishes.push_back(index);
    if (file.fd) {
      job.files.push_back(file.fd);
    } else {
      everything = true;
    }
  }
  for (auto& [index, file] : active_) {
    if (file.unrecorded.empty() || file.queued) continue;
    if (file.fd) {
      job.files.push_back(file.fd);
    } else {
      everything = true;
    }
    job.claims.push_back({index, std::exchange(file.unrecorded, {})});
  }
  job.directories = tree_.take_unsynced();
  if (everything || job.files.size() > fsync_files_max) {
    job.files.clear();
    job.directories.directories.clear();
    job.directories.file_systems = tree_.file_systems();
  }
}

void SinkCore::record(const std::shared_ptr<SyncJob>& job, int sync_result) {
  if (failed_ || closed_) return;
  if (sync_result < 0) {
    // Nothing since the last good sync counts, and a second fsync would only seem to succeed: the run ends here.
    return fail_transfer(
        error_from_errno(-sync_result, "make durable what was written to", config_.destination.path.absolute_text()));
  }
  for (auto& claim : job->claims) {
    const auto found = active_.find(claim.index);
    if (found == active_.end()) continue;
    auto& file = found->second;
    std::erase_if(claim.blocks, [&](const auto& block) { return !file.blocks.is_verified(block.first); });
    if (claim.blocks.empty()) continue;
    if (!std::exchange(file.recorded, true)) {
      journal_->append(PartialCreated{.path = file.target.text(),
                                      .partial_name = file.partial->text(),
                                      .source = file.entry->identity,
                                      .size = file.entry->size,
                                      .device = file.device,
                                      .inode = file.inode});
      if (config_.anew) supersede(file.target, *job);
    }
    std::sort(claim.blocks.begin(), claim.blocks.end());
    BlocksDurable durable{.path = file.target.text(), .first_block = 0, .digests = {}};
    const auto flush = [&] {
      if (!durable.digests.empty()) journal_->append(durable);
      durable.digests.clear();
    };
    for (const auto& [block, digest] : claim.blocks) {
      if (durable.first_block + durable.digests.size() != block || durable.digests.size() >= digests_per_record) {
        flush();
      }
      if (durable.digests.empty()) durable.first_block = block;
      durable.digests.push_back(digest);
    }
    flush();
  }
  for (const auto index : job->publishes) {
    const auto found = active_.find(index);
    if (found == active_.end()) continue;
    const auto& file = found->second;
    journal_->append(Published{
        .path = file.target.text(),
        .source = file.entry->identity,
        .size = file.entry->size,
        .device = file.device,
        .inode = file.inode,
        .mtime_ns = file.entry->mtime_ns,
        .digest = config_.algorithm == digest::Algorithm::sha256
                      ? digest::Digest{file.sha_ours ? *file.sha_ours : digest::sha256({})}
                      : digest::Digest{*file.blocks.file_digest()},
    });
  }
  if (auto written = journal_->write(); !written) return fail_transfer(std::move(written).error());
  counters.bytes_durable += job->bytes;
  executor_.post_sync([self = shared_from_this(), job] {
    Status synced = job->journal->sync();
    self->strand_.post([self, job, synced = std::move(synced)] { self->publish(job, synced); });
  });
}

/// The journal now claims our own partial of this file, and names the earlier run's as one to sweep.
void SinkCore::supersede(const path::SafePath& target, SyncJob& job) {
  const auto earlier = journal_->earlier().find(target.text());
  if (!earlier || !*earlier || !(*earlier)->partial) return;
  journal_->append(PartialIntended{.path = target.text(), .partial_name = (*earlier)->partial->partial_name});
  job.superseded.emplace_back(target, **earlier);
}

void SinkCore::publish(const std::shared_ptr<SyncJob>& job, const Status& synced) {
  if (failed_ || closed_) return;
  if (!synced) return fail_transfer(synced.error());
  for (const auto& [target, file] : job->superseded) {
    (void)sweep_partials(tree_.base(), target.text(), file);
    journal_->earlier().settle(target.text());
  }
  Resolved resolved;
  for (const auto index : job->publishes) {
    const auto found = active_.find(index);
    if (found == active_.end()) continue;
    auto& file = found->second;
    // From here on nobody else may end it: what fails is told when the names have been given.
    states_[index] = EntryState::finished;
    if (!file.replaces) {
      job->namings.push_back({.index = index,
                              .target = file.target,
                              .partial = *file.partial,
                              .parent_device = file.parent_device,
                              .parent_inode = file.parent_inode});
      if (const auto parent = tree_.open(file.target.parent())) tree_.note_changed(*parent);
      continue;
    }
    // What may be replaced is judged by what this transfer has published, which only the strand knows.
    auto named = give_name(file.target, *file.partial, true, file.parent_device, file.parent_inode, resolved);
    if (named) {
      settle_named(*job, index, file);
    } else {
      fail_named(index, std::move(named).error());
    }
    if (failed_) return;
  }
  job->parents = tree_.take_unsynced();
  executor_.post_sync([self = shared_from_this(), job] {
    give_names(self->tree_.base(), job->namings);
    const int result = sync_directories(job->parents, self->calls_);
    self->strand_.post([self, job, result] { self->finish_sync(job, result); });
  });
}

void SinkCore::fail_named(std::uint64_t index, Error error) {
  states_[index] = active_.at(index).replaces ? EntryState::wanted_replace : EntryState::wanted;
  fail_file(index, std::move(error));
}

void SinkCore::settle_named(SyncJob& job, std::uint64_t index, ActiveFile& file) {
  note_published(file.device, file.inode);
  const std::uint64_t held = file.blocks.held_bytes();
  ++totals_.files;
  totals_.bytes_resumed += held;
  totals_.bytes_received += file.entry->size - held;
  FileReport report{
      .index = index,
      .root = file.entry->root,
      .path = file.entry->path,
      .target_path = file.target.text(),
      .size = file.entry->size,
      .digest = config_.algorithm == digest::Algorithm::sha256
                    ? digest::Digest{file.sha_ours ? *file.sha_ours : digest::sha256({})}
                    : digest::Digest{*file.blocks.file_digest()},
  };
  if (!keep_report(report)) return;
  job.reports.push_back(std::move(report));
  claims_.release({file.parent_device, file.parent_inode, file.target.name().text()}, this);
  if (file.fd) open_.remove(index);
  active_.erase(index);
}

/// The rename's error as it is told: by the whole path, and by what stands in the place.
Error SinkCore::why_unnamed(Error error, int parent, const path::SafePath& target) const {
  const std::string shown = target.absolute_text();
  if (error.code == ErrorCode::FILE_EXISTS) {
    const auto there = path::stat_at(parent, target.name());
    const auto ours = there ? is_published(there->st_dev, there->st_ino) : Result<bool>{false};
    if (ours && *ours) return collision(target);
  }
  if (error.code == ErrorCode::IS_A_DIRECTORY) error.code = ErrorCode::TYPE_CONFLICT;
  error.path = shown;
  return error;
}

Status SinkCore::give_name(const path::SafePath& target, const path::Component& partial, bool replaces,
                           std::uint64_t parent_device, std::uint64_t parent_inode, Resolved& resolved) {
  auto at = resolved.find(target.parent().text());
  if (at == resolved.end()) {
    // The parent is resolved again: a link or another directory in its place must not get our file.
    auto parent = tree_.resolve_again(target.parent());
    if (!parent) return std::move(parent).error();
    if (resolved.size() >= 64) resolved.clear();  // descriptors
    at = resolved.emplace(target.parent().text(), std::move(*parent)).first;
  }
  const HeldDirectory& parent = at->second;
  if (parent->device != parent_device || parent->inode != parent_inode) return directory_was_replaced(target);
  const path::Component name = target.name();
  if (replaces) {
    const auto there = path::stat_at(parent->fd.get(), name);
    if (there) {
      const auto ours = is_published(there->st_dev, there->st_ino);
      if (!ours) return ours.error();
      if (*ours) return collision(target);
    }
  }
  auto renamed = path::rename_at({parent->fd.get(), partial}, {parent->fd.get(), name},
                                 replaces ? path::Replace::yes : path::Replace::no);
  if (!renamed) return why_unnamed(std::move(renamed).error(), parent->fd.get(), target);
  tree_.note_changed(parent);
  return {};
}

void SinkCore::finish_sync(const std::shared_ptr<SyncJob>& job, int sync_result) {
  sync_running_ = false;
  last_sync_ = std::chrono::steady_clock::now();
  if (failed_ || closed_) return;
  if (sync_result < 0) {
    return fail_transfer(
        error_from_errno(-sync_result, "make durable the names in", config_.destination.path.absolute_text()));
  }
  for (auto& naming : job->namings) {
    const auto found = active_.find(naming.index);
    if (found == active_.end()) continue;
    if (naming.result) {
      settle_named(*job, naming.index, found->second);
    } else {
      const auto parent = tree_.open(naming.target.parent());
      Error error = std::move(naming.result).error();
      fail_named(naming.index,
                 parent ? why_unnamed(std::move(error), (*parent)->fd.get(), naming.target) : std::move(error));
    }
    if (failed_) return;
  }
  if (!job->reports.empty() || !checkpoints_in_sync_.empty()) {
    tell_([reports = std::move(job->reports), checkpoints = std::exchange(checkpoints_in_sync_, {})](
              SinkObserver& observer, LaneWindows&) {
      for (const auto& report : reports) observer.on_file_finished(report);
      for (const auto& done : checkpoints) done();
    });
  }
  write_held_back();
  if (failed_) return;
  const bool again = std::exchange(sync_again_, false) || !checkpoints_.empty();
  start_sync(again ? SyncReason::asked : SyncReason::due);
  go_on_finishing();
}

}  // namespace penstock::storage
