// Verdicts: from manifest entries to what the sink wants of each.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/escape.h"
#include "dataplane/storage/partial_sweep.h"
#include "dataplane/storage/sink_core.h"

namespace penstock::storage {

SinkCore::SinkCore(PosixSinkConfig config, std::shared_ptr<Journal> journal, StorageExecutor& executor,
                   const SlabPool& pool, TargetClaims& claims, FileCalls& calls, Tell tell)
    : config_(std::move(config)),
      journal_(std::move(journal)),
      executor_(executor),
      pool_(pool),
      claims_(claims),
      calls_(calls),
      tell_(std::move(tell)),
      strand_(executor),
      verify_(executor),
      tree_(std::move(config_.destination.base)),
      judge_(config_, tree_, journal_.get()),
      store_(config_.spill_directory, calls),
      validator_(static_cast<std::uint32_t>(config_.roots.size())),
      last_sync_(std::chrono::steady_clock::now()) {
  PENSTOCK_CHECK(journal_ != nullptr || config_.dry_run);
  may_replace_ = config_.overwrite == Overwrite::changed || config_.overwrite == Overwrite::always ||
                 (journal_ != nullptr && journal_->earlier().has_files());
  PENSTOCK_CHECK(!config_.roots.empty() && config_.roots.size() <= manifest_roots_max);
}

SinkCore::~SinkCore() { claims_.release_all(this); }

void SinkCore::take_entries(std::uint64_t first_index, std::vector<ManifestEntry> entries) {
  if (failed_ || closed_) return;
  if (first_index != store_.entries() || manifest_ended_) {
    return fail_transfer(Error{ErrorCode::PATH_REFUSED, "the manifest is refused: a part of it is missing"});
  }
  SinkVerdicts verdicts;
  std::vector<std::uint64_t> complete_from_start;
  for (auto& entry : entries) {
    if (auto accepted = validator_.accept(entry); !accepted) return fail_transfer(std::move(accepted).error());
    entry.mode &= 0777U;
    const std::uint64_t index = store_.entries();
    if (auto kept = store_.append(entry); !kept) return fail_transfer(std::move(kept).error());
    decide(index, entry, verdicts, complete_from_start);
    if (failed_) return;
  }
  if (!config_.dry_run) {  // the directories that were made for these entries
    if (auto written = journal_->write(); !written) return fail_transfer(std::move(written).error());
  }
  verdicts.decided = store_.entries();
  verdicts.space_end = {store_.bytes()};
  tell_([verdicts = std::move(verdicts)](SinkObserver& observer, LaneWindows& windows) {
    windows.withhold(verdicts.withhold);
    observer.on_verdicts(verdicts);
  });
  if (config_.dry_run) return;

  // Files of which no byte will come: empty ones, and holes alone.
  for (const auto index : complete_from_start) {
    auto entry = store_.get(index);
    if (!entry) return fail_transfer(std::move(entry).error());
    name_partial(activate(index, *entry));
  }
  if (!complete_from_start.empty()) {
    if (auto written = journal_->write(); !written) return fail_transfer(std::move(written).error());
  }
  for (const auto index : complete_from_start) {
    auto& file = active_.at(index);
    if (auto opened = ensure_open(index, file); !opened) {
      fail_file(index, std::move(opened).error());
    } else {
      give_digests(index, file);
      on_blocks_changed(index, file);
    }
    if (failed_) return;
  }
  write_parked();
  start_sync(SyncReason::due);
}

void SinkCore::decide(std::uint64_t index, const ManifestEntry& entry, SinkVerdicts& verdicts,
                      std::vector<std::uint64_t>& complete_from_start) {
  Judgement judgement = judge_.judge(entry);
  const std::uint64_t begin = store_.bytes() - entry.size;
  Verdict verdict{.index = index, .action = judgement.action, .held = {}, .error = judgement.error};
  EntryState state = EntryState::left_alone;
  const bool is_file = entry.type == FileType::regular;
  switch (judgement.action) {
    case Action::refuse:
      state = EntryState::failed;
      if (is_file) ++totals_.files_failed;
      break;
    case Action::skip:
    case Action::meta_only:
      if (is_file) {
        ++totals_.files_skipped;
        totals_.bytes_skipped += entry.size;
      }
      break;
    case Action::done_before:
      state = EntryState::finished;
      if (is_file) {
        const auto& published = *judgement.earlier->published;
        ++totals_.files;
        totals_.bytes_resumed += entry.size;
        note_published(published.device, published.inode);
        FileReport report{.index = index,
                          .root = entry.root,
                          .path = entry.path,
                          .target_path = judge_.target_of(entry).text(),
                          .size = entry.size,
                          .digest = published.digest};
        if (!keep_report(report)) return;
        tell_(
            [report = std::move(report)](SinkObserver& observer, LaneWindows&) { observer.on_file_finished(report); });
      }
      break;
    case Action::send:
    case Action::held:
      state = judgement.replaces ? EntryState::wanted_replace : EntryState::wanted;
      if (judgement.replaces && entry.type != FileType::directory) verdicts.replaces.push_back(index);
      if (entry.type == FileType::directory) {
        state =
            judgement.new_directory || config_.overwrite == Overwrite::changed || config_.overwrite == Overwrite::always
                ? EntryState::new_directory
                : EntryState::old_directory;
      }
      break;
  }
  states_.push_back(state);
  if (is_file && entry.size > 0 && judgement.action != Action::send) {
    verdicts.withhold.push_back({{begin}, {begin + entry.size}});
  }
  if (is_file && judgement.action == Action::send) {
    for (const auto& hole : entry.holes) {
      verdicts.withhold.push_back({{begin + hole.offset}, {begin + hole.offset + hole.length}});
    }
    std::uint64_t hole_bytes = 0;
    for (const auto& hole : entry.holes) hole_bytes += hole.length;
    if (!config_.dry_run && !config_.anew && judgement.earlier != nullptr &&
        resume_partial(index, *judgement.earlier, verdict)) {
      for (const auto& run : verdict.held) {
        verdicts.withhold.push_back(
            {{begin + run.first * block_size}, {begin + std::min(entry.size, run.end() * block_size)}});
      }
    } else if (hole_bytes == entry.size) {
      complete_from_start.push_back(index);
    }
  }
  if (!config_.dry_run && judgement.earlier != nullptr) {
    const path::SafePath target = judge_.target_of(entry);
    // What could be resumed stays until this run has something better (supersede), or all of it.
    const bool stays = config_.anew && verdict.action == Action::send && judgement.earlier->partial;
    // Resumed files had theirs swept, and what has its name has no partial any more.
    if (verdict.action != Action::held && verdict.action != Action::done_before && !stays)
      drop_leftovers(target, *judgement.earlier);
    if (!stays) journal_->earlier().settle(target.text());
  }
  if (verdict.action != Action::send) verdicts.exceptions.push_back(std::move(verdict));
}

bool SinkCore::keep_report(const FileReport& report) {
  if (!config_.keep_report) return true;
  Status kept = config_.keep_report(report);
  if (!kept) fail_transfer(std::move(kept).error());
  return !failed_;
}

void SinkCore::note_published(std::uint64_t device, std::uint64_t inode) {
  if (may_replace_) published_.insert(device, inode);
}

Result<bool> SinkCore::is_published(std::uint64_t device, std::uint64_t inode) const {
  if (may_replace_ && !published_.contains(device, inode)) return false;
  return journal_->has_published(device, inode);
}

void SinkCore::drop_leftovers(const path::SafePath& target, const JournalFile& earlier) {
  if (!earlier.partial && earlier.intended.empty()) return;
  JournalFile leftovers;
  leftovers.intended = earlier.intended;
  const TargetClaims::Target claim = claim_of(target);
  // While another transfer writes here, what is recorded stays: the first byte will say TRANSFER_ACTIVE.
  if (claims_.claim(claim, this)) {
    leftovers.partial = earlier.partial;
    claims_.release(claim, this);
  }
  (void)sweep_partials(tree_.base(), target.text(), leftovers);
  if (leftovers.partial || !earlier.partial) journal_->append(PartialDropped{target.text()});
}

TargetClaims::Target SinkCore::claim_of(const path::SafePath& target) {
  const auto parent = tree_.open(target.parent());
  return {
      .device = parent ? (*parent)->device : 0, .inode = parent ? (*parent)->inode : 0, .name = target.name().text()};
}

bool SinkCore::resume_partial(std::uint64_t index, const JournalFile& earlier, Verdict& verdict) {
  auto found = store_.get(index);
  if (!found) return fail_transfer(std::move(found).error()), false;
  const auto& entry = *found;
  const path::SafePath target = judge_.target_of(*entry);
  if (!earlier.partial) return false;
  const auto& recorded = *earlier.partial;
  const auto name = path::Component::parse_partial(recorded.partial_name);
  const auto parent = tree_.open(target.parent());
  bool fits = name && parent && recorded.source == entry->identity && recorded.size == entry->size &&
              entry->size > block_size && !earlier.durable.empty();
  struct stat status {};
  UniqueFd fd;
  if (fits) {
    auto opened = path::open_at((*parent)->fd.get(), *name, O_RDWR | O_NONBLOCK);
    fits = opened.ok() && ::fstat(opened->get(), &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1 &&
           status.st_dev == recorded.device && status.st_ino == recorded.inode &&
           static_cast<std::uint64_t>(status.st_size) == recorded.size;
    if (fits) fd = std::move(*opened);
  }
  // Claimed by another: its first byte will say TRANSFER_ACTIVE.
  if (!fits || !claims_.claim(claim_of(target), this)) return false;
  if (!earlier.intended.empty()) {
    JournalFile leftovers;
    leftovers.intended = earlier.intended;
    (void)sweep_partials(tree_.base(), target.text(), leftovers);
  }
  ActiveFile& file = activate(index, entry);
  file.partial = *name;
  file.created = true;
  file.recorded = true;
  file.device = recorded.device;
  file.inode = recorded.inode;
  file.parent_device = (*parent)->device;
  file.parent_inode = (*parent)->inode;
  for (const auto& [block, digest] : earlier.durable) {
    file.blocks.add_held(block, digest);
    if (!verdict.held.empty() && verdict.held.back().end() == block) {
      ++verdict.held.back().count;
    } else {
      verdict.held.push_back({block, 1});
    }
  }
  verdict.action = Action::held;
  check_held(index, file);
  return true;
}

ActiveFile& SinkCore::activate(std::uint64_t index, const std::shared_ptr<const ManifestEntry>& entry) {
  const auto [at, is_new] = active_.try_emplace(index, entry, judge_.target_of(*entry));
  if (is_new) at->second.replaces = states_[index] == EntryState::wanted_replace;
  return at->second;
}

void SinkCore::take_manifest_end(std::uint64_t entries, std::uint64_t bytes) {
  if (failed_ || closed_) return;
  if (auto finished = validator_.finish(entries, bytes); !finished) {
    return fail_transfer(std::move(finished).error());
  }
  manifest_ended_ = true;
  tell_([bytes](SinkObserver&, LaneWindows& windows) { windows.finish({bytes}); });
}

void SinkCore::fail_transfer(Error error) {
  if (failed_ || closed_) return;
  failed_ = true;
  drop_parked();
  tell_([error = std::move(error)](SinkObserver& observer, LaneWindows&) { observer.on_sink_failed(error); });
  answer_checkpoints();
}

void SinkCore::drop_parked() {
  // Slabs still queued on the strand are counted off when their turn comes.
  counters.slabs_waiting -= parked_.size() + held_back_.size();
  parked_.clear();
  held_back_.clear();
}

void SinkCore::fail_file(std::uint64_t index, Error error) {
  // No space and failing disks concern all that follows too.
  if (error.code == ErrorCode::NO_SPACE || error.code == ErrorCode::QUOTA_EXCEEDED ||
      error.code == ErrorCode::IO_ERROR) {
    return fail_transfer(std::move(error));
  }
  if (states_[index] != EntryState::wanted && states_[index] != EntryState::wanted_replace) return;
  states_[index] = EntryState::failed;
  ++totals_.files_failed;
  drop_active(index);
  tell_([index, error = std::move(error)](SinkObserver& observer, LaneWindows&) {
    observer.on_entry_failed(index, error);
  });
}

void SinkCore::drop_active(std::uint64_t index) {
  const auto found = active_.find(index);
  if (found == active_.end()) return;
  auto& file = found->second;
  if (file.created) {
    // What could not be unlinked stays in the journal, for a later run or its expiry.
    if (unlink_partial(file)) {
      journal_->append(PartialDropped{file.target.text()});
    } else {
      journal_->keep_for_leftovers();
    }
    if (auto written = journal_->write(); !written) fail_transfer(std::move(written).error());
  }
  open_.remove(index);
  std::erase(to_publish_, index);
  active_.erase(found);
}

bool SinkCore::unlink_partial(const ActiveFile& file) {
  const auto parent = tree_.open(file.target.parent());
  claims_.release({file.parent_device, file.parent_inode, file.target.name().text()}, this);
  if (!parent || (*parent)->device != file.parent_device || (*parent)->inode != file.parent_inode) return false;
  const auto gone = path::unlink_at((*parent)->fd.get(), *file.partial);
  return gone.ok() || gone.error().code == ErrorCode::NOT_FOUND;
}

void SinkCore::fail_entry(std::uint64_t index, const Error& error) {
  (void)error;  // the caller knows and has told
  if (failed_ || closed_ || index >= states_.size()) return;
  if (states_[index] != EntryState::wanted && states_[index] != EntryState::wanted_replace) return;
  states_[index] = EntryState::failed;
  ++totals_.files_failed;
  drop_active(index);
  go_on_finishing();
}

void SinkCore::close() {
  closed_ = true;
  drop_parked();
  // What no journal claims can not be resumed: its partial would only lie about until it expires.
  bool all_gone = true;
  for (const auto& [index, file] : active_) {
    if (file.created && !file.recorded) all_gone = unlink_partial(file) && all_gone;
  }
  if (journal_ && all_gone && !committed_ && !journal_->worth_keeping()) (void)journal_->remove();
  active_.clear();
  open_.clear();
  claims_.release_all(this);
  journal_.reset();
}

}  // namespace penstock::storage
