// The end: what is missing, and once nothing is, links, then directories from the deepest up.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/check.h"
#include "dataplane/storage/partial_sweep.h"
#include "dataplane/storage/sink_core.h"

namespace penstock::storage {

namespace {
constexpr std::size_t links_per_batch = 256;  // one journal sync for so many
}  // namespace

struct SinkCore::PendingLink {
  std::uint64_t index = 0;
  std::shared_ptr<const ManifestEntry> entry;
  path::SafePath target;
  path::Component partial;
  bool made = false;
  std::uint64_t parent_device = 0;
  std::uint64_t parent_inode = 0;
  struct stat status {};
};

void SinkCore::audit() {
  audit_asked_ = true;
  go_on_finishing();
}

void SinkCore::commit() {
  commit_asked_ = true;
  go_on_finishing();
}

void SinkCore::go_on_finishing() {
  if (failed_ || closed_) return;
  if (audit_asked_ && checks_running_ == 0 && parked_.empty() && held_back_.empty()) answer_audit();
  if (failed_ || !commit_asked_ || committing_ || sync_running_ || checks_running_ > 0) return;
  if (!to_publish_.empty()) return start_sync(SyncReason::asked);
  committing_ = true;
  if (!active_.empty() || !manifest_ended_) {
    return fail_transfer(Error{ErrorCode::INTERNAL, "a commit was asked for while files were still missing bytes"});
  }
  make_links();
}

void SinkCore::answer_audit() {
  // Blocks that could not be read back while their file was closed, and sums that stopped there.
  for (auto at = active_.begin(); at != active_.end();) {
    const std::uint64_t index = at->first;
    auto& file = at->second;
    ++at;
    if (file.queued || !file.blocks.complete()) continue;
    if (auto opened = ensure_open(index, file); !opened) {
      fail_file(index, std::move(opened).error());
    } else {
      on_blocks_changed(index, file);
    }
    if (failed_) return;
  }
  if (checks_running_ > 0) return;
  audit_asked_ = false;

  AuditResult result;
  for (std::uint64_t index = 0; index < states_.size() && result.repair.size() < repair_runs_max; ++index) {
    if (states_[index] != EntryState::wanted && states_[index] != EntryState::wanted_replace) continue;
    auto found = store_.get(index);
    auto offset = store_.offset_of(index);
    if (!found || !offset) return fail_transfer(found ? std::move(offset).error() : std::move(found).error());
    const auto& entry = **found;
    if (entry.type != FileType::regular) continue;
    const auto report = [&](const BlockTracker& blocks, const BlockRun& run) {
      result.repair.push_back({index, run});
      for (const auto& data : blocks.data_in(run.first * block_size, run.end() * block_size)) {
        result.forget.push_back({{*offset + data.begin}, {*offset + data.end}});
      }
    };
    if (const auto active = active_.find(index); active != active_.end()) {
      auto& blocks = active->second.blocks;
      if (active->second.queued) continue;
      auto runs = blocks.unverified();
      for (const auto& run : runs) {
        blocks.forget(run);
        report(blocks, run);
      }
      active->second.restart_sha();
      if (runs.empty()) {  // the blocks agree, but the whole-file sum never came
        report(blocks, {0, block_count(entry.size)});
        blocks.forget({0, block_count(entry.size)});
      }
    } else {
      report(BlockTracker{entry.size, entry.holes}, {0, block_count(entry.size)});
    }
  }
  if (!to_publish_.empty()) start_sync(SyncReason::asked);
  tell_([result = std::move(result)](SinkObserver& observer, LaneWindows& windows) {
    windows.expect_again(result.forget);
    observer.on_audited(result);
  });
}

/// A batch of links under partials' names, from the journal's intent to its durable record.
struct SinkCore::LinkBatch {
  explicit LinkBatch(std::shared_ptr<SinkCore> of) : core(std::move(of)) {}
  LinkBatch(const LinkBatch&) = delete;
  LinkBatch& operator=(const LinkBatch&) = delete;
  /// Whatever stops the batch, no link stays behind under a partial's name.
  ~LinkBatch() {
    for (const auto& link : links) {
      if (!link.made || core->states_[link.index] == EntryState::finished) continue;
      if (const auto parent = core->tree_.open(link.target.parent())) {
        (void)path::unlink_at((*parent)->fd.get(), link.partial);
      }
    }
  }
  std::shared_ptr<SinkCore> core;
  std::vector<PendingLink> links;
};

void SinkCore::make_links() {
  auto batch = std::make_shared<LinkBatch>(shared_from_this());
  for (; next_link_ < states_.size() && batch->links.size() < links_per_batch; ++next_link_) {
    if (states_[next_link_] != EntryState::wanted && states_[next_link_] != EntryState::wanted_replace) continue;
    auto found = store_.get(next_link_);
    if (!found) return fail_transfer(std::move(found).error());
    if ((*found)->type != FileType::symlink) {
      return fail_transfer(
          Error{ErrorCode::INTERNAL, "a commit was asked for while a file had no byte", (*found)->path});
    }
    batch->links.push_back(
        {.index = next_link_, .entry = *found, .target = judge_.target_of(**found), .partial = random_partial_name()});
  }
  if (batch->links.empty()) return finish_directories();
  if (auto made = make_link_batch(*batch); !made) return fail_transfer(std::move(made).error());
  if (failed_) return;
  executor_.post_sync([self = shared_from_this(), batch = std::move(batch), journal = journal_]() mutable {
    Status synced = journal->sync();
    // The batch is the strand's alone: the last of it must not go on this thread.
    self->strand_.post([self, batch = std::move(batch), synced = std::move(synced)] {
      if (self->failed_ || self->closed_) return;
      if (!synced) return self->fail_transfer(synced.error());
      self->publish_links(*batch);
      if (!self->failed_) self->make_links();
    });
  });
}

Status SinkCore::make_link_batch(LinkBatch& batch) {
  // Links are made under a partial's name and renamed, as files are: so replacing one is atomic too.
  for (const auto& link : batch.links) {
    journal_->append(PartialIntended{.path = link.target.text(), .partial_name = link.partial.text()});
  }
  if (auto written = journal_->write(); !written) return written;
  for (auto& link : batch.links) {
    auto parent = tree_.open(link.target.parent());
    Status status =
        parent ? path::symlink_at(link.entry->link_target, (*parent)->fd.get(), link.partial) : Status{parent.error()};
    if (!status) {
      fail_file(link.index, std::move(status).error());
      if (failed_) return {};
      continue;
    }
    link.made = true;
    link.parent_device = (*parent)->device;
    link.parent_inode = (*parent)->inode;
    const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, timespec_of(link.entry->mtime_ns)};
    // A link's own time is a courtesy: some file systems have none.
    (void)::utimensat((*parent)->fd.get(), link.partial.c_str(), times, AT_SYMLINK_NOFOLLOW);
    const auto examined = path::stat_at((*parent)->fd.get(), link.partial);
    if (!examined) return examined.error();
    link.status = *examined;
    journal_->append(Published{.path = link.target.text(),
                               .source = link_identity(link.entry->link_target),
                               .size = 0,
                               .device = link.status.st_dev,
                               .inode = link.status.st_ino,
                               .mtime_ns = link.entry->mtime_ns,
                               .digest = digest::xxh3({})});
  }
  return journal_->write();
}

void SinkCore::publish_links(LinkBatch& batch) {
  Resolved resolved;
  for (const auto& link : batch.links) {
    if (!link.made) continue;
    auto named = give_name(link.target, link.partial, states_[link.index] == EntryState::wanted_replace,
                           link.parent_device, link.parent_inode, resolved);
    if (named) {
      note_published(link.status.st_dev, link.status.st_ino);
      states_[link.index] = EntryState::finished;
      continue;
    }
    fail_file(link.index, std::move(named).error());
    if (failed_) return;
  }
}

void SinkCore::finish_directories() {
  settle_directories();
  if (failed_) return;
  auto unsynced = std::make_shared<UnsyncedDirectories>(tree_.take_unsynced());
  executor_.post_sync([self = shared_from_this(), unsynced, journal = journal_] {
    int result = sync_directories(*unsynced, self->calls_);
    // Where directories are all that was made, nothing has synced yet that they are ours.
    if (result == 0 && !journal->sync()) result = -EIO;
    self->strand_.post([self, result] { self->finish_commit(result); });
  });
}

void SinkCore::settle_directories() {
  // Manifest order has parents first, so backwards is deepest first.
  for (std::uint64_t index = states_.size(); index-- > 0;) {
    if (states_[index] != EntryState::new_directory) continue;
    auto entry = store_.get(index);
    if (!entry) return fail_transfer(std::move(entry).error());
    const path::SafePath target = judge_.target_of(**entry);
    states_[index] = EntryState::finished;
    if (target.is_root()) continue;  // the grant's own directory, or the client's base, is not ours to change
    auto directory = tree_.resolve_again(target);
    Status set;
    if (!directory) {
      set = std::move(directory).error();
    } else {
      const int result = set_directory_metadata(**directory, timespec_of((*entry)->mtime_ns), (*entry)->mode);
      // A directory that existed may belong to someone else: its content is merged all the same.
      if (result != 0 && result != EPERM)
        set = error_from_errno(result, "set mode and time of", target.absolute_text());
      tree_.note_changed(*directory);
    }
    if (set) continue;
    tell_([index, error = std::move(set).error()](SinkObserver& observer, LaneWindows&) {
      observer.on_entry_failed(index, error);
    });
  }
}

void SinkCore::finish_commit(int sync_result) {
  if (failed_ || closed_) return;
  if (sync_result < 0) {
    return fail_transfer(
        error_from_errno(-sync_result, "make durable the names in", config_.destination.path.absolute_text()));
  }
  // Partials of earlier runs whose entries the manifest does not mention any more.
  (void)sweep_partials(tree_.base(), journal_->earlier());
  // The journal stays: until the receipt is kept, the same command must find every file done before. Its owner
  // finishes it.
  committed_ = true;
  totals_.bytes = totals_.bytes_received + totals_.bytes_resumed + totals_.bytes_skipped;
  tell_([totals = totals_](SinkObserver& observer, LaneWindows&) { observer.on_committed(totals); });
}

}  // namespace penstock::storage
