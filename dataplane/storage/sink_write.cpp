// Bytes: from filled slabs into partial files.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/check.h"
#include "common/crypto/random.h"
#include "common/escape.h"
#include "dataplane/storage/sink_core.h"

namespace penstock::storage {

namespace {
// Write-back is started in steps of this: smaller ones cost calls, larger ones leave more for the final sync.
constexpr std::uint64_t write_back_step = 16 * MiB;
// Written and digested in turn: so much is still in the processor's own cache (a whole slab fills it) when it is
// digested.
constexpr std::uint64_t write_step = 128 * KiB;
constexpr std::size_t random_reserve = 4096;
// Files that may be without their name while a sync runs: about 1.3 KiB each with their share of manifest, journal and
// reports. Fewer make small files wait for the flush, more cost memory: a crowd of sinks shares what a few may have,
// and each is sure of the least. A step begins half as many, for a megabyte of tiny files is a thousand steps, not one.
constexpr std::size_t unnamed_files_shared = 4096;
constexpr std::size_t unnamed_files_max = 2048;
constexpr std::size_t unnamed_files_min = 256;
// Begun and incomplete, whatever the reason: more than a gigabyte of files of 4 KiB on the way. Only a peer that never
// completes anything comes here.
constexpr std::size_t unfinished_files_max = 256 * 1024;
}  // namespace

void SinkCore::take_slab(FilledSlab slab) {
  if (failed_ || closed_) {
    --counters.slabs_waiting;
    return;
  }
  // Runs beyond the manifest so far wait for it, in their slab: credit never passes the manifest for long.
  if (!slab.runs.empty() && slab.runs.back().end > store_.bytes()) {
    if (manifest_ended_) {
      --counters.slabs_waiting;
      return fail_transfer(Error{ErrorCode::PATH_REFUSED, "bytes came that no file of the manifest has"});
    }
    parked_.push_back(std::move(slab));
    return;
  }
  held_back_.push_back(std::move(slab));
  if (held_back_.size() == 1) write_held_back();
}

std::size_t SinkCore::unnamed_files_allowed() const {
  return std::clamp(unnamed_files_shared / std::max<std::size_t>(1, pool_.sharers()), unnamed_files_min,
                    unnamed_files_max);
}

void SinkCore::write_held_back() {
  while (!held_back_.empty() && !failed_ && !closed_) {
    // Files that are complete wait for the disk's flush to get their names, and cost memory meanwhile.
    if (sync_running_ && active_.size() >= unnamed_files_allowed()) return;
    if (active_.size() >= unfinished_files_max) {
      return fail_transfer(Error{ErrorCode::PATH_REFUSED, "too many files were begun, and none of them is completed"});
    }
    FilledSlab slab = std::move(held_back_.front());
    held_back_.pop_front();
    const bool whole = write_slab(slab);
    if (failed_ || whole) --counters.slabs_waiting;
    if (failed_) return;
    if (whole) {
      slab.slab.reset();
      tell_([](SinkObserver& observer, LaneWindows&) { observer.on_room(); });
    } else {
      held_back_.push_front(std::move(slab));
    }
    start_sync(SyncReason::due);
  }
  go_on_finishing();
}

void SinkCore::write_parked() {
  for (std::size_t left = parked_.size(); left > 0 && !parked_.empty(); --left) {
    FilledSlab slab = std::move(parked_.front());
    parked_.pop_front();
    take_slab(std::move(slab));
  }
}

bool SinkCore::write_slab(FilledSlab& slab) {
  const std::span<const std::byte> memory = slab.slab->bytes();
  std::vector<Piece> pieces;
  const std::size_t begun_max = unnamed_files_allowed() / 2;
  std::size_t begun = 0;
  std::size_t runs_done = 0;
  for (auto& run : slab.runs) {
    std::uint64_t at = run.begin;
    while (at < run.end && begun < begun_max) {
      auto place = store_.locate(at);
      if (!place) return fail_transfer(std::move(place).error()), false;
      const std::uint64_t length = std::min(run.end - at, place->bytes_left);
      const auto state = states_[place->index];
      if (state == EntryState::wanted || state == EntryState::wanted_replace) {
        const auto inside = static_cast<std::size_t>(at - slab.base.value);
        pieces.push_back({place->index, place->file_offset, memory.subspan(inside, static_cast<std::size_t>(length))});
        if (!active_.contains(place->index)) {
          auto entry = store_.get(place->index);
          if (!entry) return fail_transfer(std::move(entry).error()), false;
          name_partial(activate(place->index, *entry));
          ++begun;
        }
      }
      at += length;
    }
    run.begin = at;
    if (at < run.end) break;
    ++runs_done;
  }
  slab.runs.erase(slab.runs.begin(), slab.runs.begin() + static_cast<std::ptrdiff_t>(runs_done));
  // One write for all partials that this slab begins, before the first of them exists.
  if (begun > 0) {
    if (auto written = journal_->write(); !written) return fail_transfer(std::move(written).error()), false;
  }
  for (const auto& piece : pieces) {
    const auto found = active_.find(piece.index);
    if (found == active_.end()) continue;  // failed or finished by a piece before this one
    if (!write_piece(found->second, piece) && failed_) return false;
  }
  return slab.runs.empty();
}

bool SinkCore::write_piece(ActiveFile& file, const Piece& piece) {
  const std::uint64_t index = piece.index;
  if (auto opened = ensure_open(index, file); !opened) return fail_file(index, std::move(opened).error()), false;
  const std::uint64_t end = piece.file_offset + piece.bytes.size();
  std::uint64_t from = piece.file_offset;
  while (auto gap = file.blocks.first_gap(from, end)) {
    gap->end = std::min(gap->end, gap->begin + write_step);
    const auto part = piece.bytes.subspan(static_cast<std::size_t>(gap->begin - piece.file_offset),
                                          static_cast<std::size_t>(gap->size()));
    if (auto written = write_all(file.fd->get(), part, gap->begin, file.target); !written) {
      return fail_file(index, std::move(written).error()), false;
    }
    file.metadata_set = false;
    file.blocks.on_written(gap->begin, part);
    counters.bytes_written += part.size();
    unsynced_bytes_ += part.size();
    from = gap->end;
    if (from >= end) break;
  }
  if (!file.large() && file.blocks.complete() && !file.metadata_set) {
    if (config_.algorithm == digest::Algorithm::sha256 && piece.bytes.size() == file.entry->size) {
      file.sha_ours = digest::sha256(piece.bytes);
    }
    if (auto set = set_metadata(file); !set) return fail_file(index, std::move(set).error()), false;
  }
  if (file.large()) write_back(file, end);
  give_digests(index, file);
  on_blocks_changed(index, file);
  return true;
}

Status SinkCore::write_all(int fd, std::span<const std::byte> bytes, std::uint64_t offset,
                           const path::SafePath& target) {
  while (!bytes.empty()) {
    const auto written = calls_.pwrite(fd, bytes, offset);
    if (written == -EINTR) continue;
    if (written <= 0) {
      return error_from_errno(written < 0 ? static_cast<int>(-written) : EIO, "write", target.absolute_text());
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

path::Component SinkCore::random_partial_name() {
  constexpr std::size_t size = path::partial_name_bits / 8;
  if (names_.size() < size) {
    names_.resize(random_reserve);
    crypto::random_bytes(names_);
  }
  auto name = path::Component::partial(std::span{names_}.last<size>());
  names_.resize(names_.size() - size);
  return name;
}

void SinkCore::name_partial(ActiveFile& file) {
  file.partial = random_partial_name();
  journal_->append(PartialIntended{.path = file.target.text(), .partial_name = file.partial->text()});
}

Status SinkCore::ensure_open(std::uint64_t index, ActiveFile& file) {
  if (file.fd) return {};
  if (!file.created) {
    if (auto created = create_partial(index, file); !created) return created;
  } else {
    auto parent = tree_.open(file.target.parent());
    if (!parent) return std::move(parent).error();
    auto opened = path::open_at((*parent)->fd.get(), *file.partial, O_RDWR | O_NONBLOCK);
    if (!opened && opened.error().code == ErrorCode::PERMISSION_DENIED) {
      // It was given its final mode already, and closed for others' sake it keeps us out too.
      make_writable((*parent)->fd.get(), file);
      opened = path::open_at((*parent)->fd.get(), *file.partial, O_RDWR | O_NONBLOCK);
    }
    if (!opened) return std::move(opened).error();
    struct stat status {};
    if (::fstat(opened->get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_dev != file.device ||
        status.st_ino != file.inode) {
      return Error{
          ErrorCode::PATH_REFUSED,
          "the partial of " + escape_for_display(file.target.absolute_text(), 512) + " was replaced by another file",
          file.target.absolute_text()};
    }
    file.fd = std::make_shared<UniqueFd>(std::move(*opened));
  }
  open_.push_back(index);
  if (open_.size() > config_.open_partials) {
    const auto oldest = active_.find(open_.front());
    open_.pop_front();
    if (oldest != active_.end()) oldest->second.fd.reset();
  }
  return {};
}

void SinkCore::make_writable(int directory, ActiveFile& file) {
  const auto found = path::open_at(directory, *file.partial, O_PATH);
  struct stat status {};
  if (!found || ::fstat(found->get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_dev != file.device ||
      status.st_ino != file.inode) {
    return;  // the caller finds out why
  }
  // By descriptor, so that nothing that is put in its place meanwhile gets this mode.
  if (::chmod(("/proc/self/fd/" + std::to_string(found->get())).c_str(), 0600) == 0) file.metadata_set = false;
}

Status SinkCore::create_partial(std::uint64_t index, ActiveFile& file) {
  auto parent = tree_.open(file.target.parent());
  if (!parent) return std::move(parent).error();
  const HeldDirectory& directory = *parent;
  const std::string shown = file.target.absolute_text();
  if (!claims_.claim({directory->device, directory->inode, file.target.name().text()}, this)) {
    return Error{ErrorCode::TRANSFER_ACTIVE,
                 escape_for_display(shown, 512) + " is being written by another transfer; wait until that ends", shown};
  }
  if (file.large()) {
    struct statvfs space {};
    if (::fstatvfs(directory->fd.get(), &space) == 0) {
      std::uint64_t holes = 0;
      for (const auto& hole : file.entry->holes) holes += hole.length;
      const std::uint64_t free_bytes = std::uint64_t{space.f_bavail} * space.f_frsize;
      if (free_bytes < file.entry->size - holes) {
        return error_from_errno(ENOSPC, "make room for", shown);
      }
    }
  }
  if (!file.partial) name_partial(file);
  auto opened = path::open_at(directory->fd.get(), *file.partial, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (!opened) {
    return told_of(std::move(opened).error(), shown);
  }
  struct stat status {};
  if (::fstat(opened->get(), &status) != 0) return error_from_errno(errno, "examine the partial of", shown);
  file.fd = std::make_shared<UniqueFd>(std::move(*opened));
  file.created = true;
  file.device = status.st_dev;
  file.inode = status.st_ino;
  file.parent_device = directory->device;
  file.parent_inode = directory->inode;
  tree_.note_changed(directory);
  (void)index;
  if (file.large() || !file.entry->holes.empty()) {
    if (const int result = calls_.ftruncate(file.fd->get(), file.entry->size); result < 0) {
      return error_from_errno(-result, "set the size of", shown);
    }
    allocate_ahead(file);
  }
  return {};
}

void SinkCore::allocate_ahead(ActiveFile& file) {
  struct statfs fs {};
  // On tmpfs allocation zeroes pages that are about to be written: it costs a pass and gains nothing.
  if (::fstatfs(file.fd->get(), &fs) != 0 || fs.f_type == TMPFS_MAGIC) return;
  auto extents = file.blocks.data_in(0, file.entry->size);
  file.allocation = std::make_shared<Allocation>();
  executor_.post([self = weak_from_this(), fd = file.fd, extents = std::move(extents), &calls = calls_,
                  target = file.target, allocation = file.allocation] {
    for (const auto& extent : extents) {
      const std::lock_guard lock{allocation->mutex};
      if (allocation->over) return;
      const int result = calls.fallocate(fd->get(), extent.begin, extent.size());
      if (result != -ENOSPC && result != -EDQUOT) {
        if (result < 0) return;  // not supported: fine
        continue;
      }
      if (const auto core = self.lock()) {
        core->strand_.post([core, result, target] {
          core->fail_transfer(error_from_errno(-result, "make room for", target.absolute_text()));
        });
      }
      return;
    }
  });
}

void SinkCore::write_back(ActiveFile& file, std::uint64_t end) {
  if (end < file.written_back + write_back_step) return;
  const std::uint64_t from = file.written_back;
  file.written_back = end / write_back_step * write_back_step;
  executor_.post([fd = file.fd, from, to = file.written_back] {
    // Starts the writing and does not wait; where it is not supported the final sync does it all.
    (void)::sync_file_range(fd->get(), static_cast<off_t>(from), static_cast<off_t>(to - from), SYNC_FILE_RANGE_WRITE);
  });
}

Status SinkCore::set_metadata(ActiveFile& file) {
  const auto& entry = *file.entry;
  if (file.allocation) {
    const std::lock_guard lock{file.allocation->mutex};
    file.allocation->over = true;
  }
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, timespec_of(entry.mtime_ns)};
  if (::futimens(file.fd->get(), times) != 0 && errno != EINVAL) {
    return error_from_errno(errno, "set the time of", file.target.absolute_text());
  }
  if (::fchmod(file.fd->get(), entry.mode) != 0) {
    return error_from_errno(errno, "set the mode of", file.target.absolute_text());
  }
  file.metadata_set = true;
  return {};
}

}  // namespace penstock::storage
