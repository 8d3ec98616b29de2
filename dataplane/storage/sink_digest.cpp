// Digests: the sink's own, the source's, and the comparison; blocks of earlier runs read again.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/digest/sha256.h"
#include "dataplane/storage/sink_core.h"

namespace penstock::storage {

namespace {

constexpr std::size_t read_step = 128 * 1024;
constexpr std::uint64_t held_blocks_step = 32;  // checked per task, so that other transfers get their turn
constexpr std::uint64_t sha_step = 8 * MiB;
// A run may pass over so many entries without a block: a peer must not make us walk its whole manifest for a digest.
constexpr std::uint64_t entries_passed_max = 65536;

/// Digest of a block as it stands in the file; nullopt when it can not be read in full.
std::optional<digest::Xxh3> digest_block(FileCalls& calls, int fd, std::uint64_t block, std::uint64_t file_size,
                                         std::vector<std::byte>& scratch) {
  scratch.resize(read_step);
  const std::uint64_t end = std::min(file_size, (block + 1) * block_size);
  digest::Xxh3Hasher hasher;
  for (std::uint64_t at = block * block_size; at < end;) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(scratch.size(), end - at));
    const auto got = calls.pread(fd, std::span{scratch}.first(want), at);
    if (got == -EINTR) continue;
    if (got <= 0) return std::nullopt;
    hasher.update(std::span{scratch}.first(static_cast<std::size_t>(got)));
    at += static_cast<std::uint64_t>(got);
  }
  return hasher.digest();
}

}  // namespace

void SinkCore::take_digests(const DigestRun& run) {
  if (failed_ || closed_) return;
  const auto nonsense = [this] {
    fail_transfer(Error{ErrorCode::PATH_REFUSED, "digests came for a place that no file of the manifest has"});
  };
  std::uint64_t index = run.index;
  std::uint64_t block = run.first_block;
  std::size_t sums = 0;
  std::uint64_t passed = 0;
  for (std::size_t i = 0; i < run.blocks.size();) {
    if (index >= store_.entries()) return nonsense();
    auto entry = store_.get(index);
    if (!entry) return fail_transfer(std::move(entry).error());
    const std::uint64_t blocks = (*entry)->type == FileType::regular ? block_count((*entry)->size) : 0;
    if (blocks > 0 && block >= blocks) return nonsense();
    if (blocks == 0 && ++passed > entries_passed_max) return nonsense();
    const auto found = active_.find(index);
    const bool wanted = states_[index] == EntryState::wanted || states_[index] == EntryState::wanted_replace;
    for (; block < blocks && i < run.blocks.size(); ++block, ++i) {
      if (found != active_.end()) {
        found->second.blocks.set_source_digest(block, run.blocks[i]);
      } else if (wanted) {
        early_digests_.put(index, block, run.blocks[i]);
      }
    }
    if (blocks > 0 && block == blocks && sums < run.files.size()) {
      if (found != active_.end()) {
        found->second.sha_theirs = run.files[sums];
      } else if (wanted) {
        early_sums_[index] = run.files[sums];
      }
      ++sums;
    }
    if (found != active_.end()) on_blocks_changed(index, found->second);
    if (failed_) return;
    ++index;
    block = 0;
  }
  start_sync(SyncReason::due);
  go_on_finishing();
}

void SinkCore::give_digests(std::uint64_t index, ActiveFile& file) {
  early_digests_.take(index, [&file](std::uint64_t block, const digest::Xxh3& digest) {
    file.blocks.set_source_digest(block, digest);
  });
  if (early_sums_.empty()) return;
  if (const auto sum = early_sums_.find(index); sum != early_sums_.end()) {
    file.sha_theirs = sum->second;
    early_sums_.erase(sum);
  }
}

void SinkCore::read_back(ActiveFile& file) {
  // A block read back may settle as wrong, and nothing new then becomes unread: this ends.
  for (const auto block : file.blocks.take_unread()) {
    const auto digest = digest_block(calls_, file.fd->get(), block, file.entry->size, scratch_);
    if (digest) {
      file.blocks.set_digest(block, *digest);
    } else {
      file.blocks.forget(block);
    }
  }
}

void SinkCore::on_blocks_changed(std::uint64_t index, ActiveFile& file) {
  if (file.queued) return;
  if (file.fd) read_back(file);
  for (auto& verified : file.blocks.take_verified()) {
    if (file.large()) file.unrecorded.push_back(verified);
  }
  const auto wrong = file.blocks.take_wrong();
  for (const auto block : wrong) {
    std::erase_if(file.unrecorded, [block](const auto& entry) { return entry.first == block; });
    if (file.recorded) journal_->append(BlocksLost{.path = file.target.text(), .blocks = {block, 1}});
    file.restart_sha();
  }
  if (config_.algorithm == digest::Algorithm::sha256) {
    follow_sha(index, file);
    if (file.entry->size > 0 && (!file.sha_ours || !file.sha_theirs)) return;
  }
  if (!file.blocks.verified()) return;
  if (file.sha_ours && file.sha_theirs && *file.sha_ours != *file.sha_theirs) {
    // Every block agrees and the whole does not: one of the two sums is of something else. All is sent again.
    file.blocks.forget({0, block_count(file.entry->size)});
    file.restart_sha();
    file.sha_theirs.reset();
    return;
  }
  file.queued = true;
  to_publish_.push_back(index);
}

void SinkCore::check_held(std::uint64_t index, ActiveFile& file) {
  if (auto opened = ensure_open(index, file); !opened) return fail_file(index, std::move(opened).error());
  ++checks_running_;
  std::vector<BlockRun> runs = file.blocks.unverified();
  struct Check {
    std::vector<std::uint64_t> blocks;
    std::size_t next = 0;
  };
  auto check = std::make_shared<Check>();
  for (const auto& run : runs) {
    for (std::uint64_t block = run.first; block < run.end(); ++block) {
      if (file.blocks.is_held(block)) check->blocks.push_back(block);
    }
  }
  auto step = std::make_shared<std::function<void()>>();
  *step = [self = shared_from_this(), check, fd = file.fd, size = file.entry->size, index, weak = std::weak_ptr{step}] {
    std::vector<std::byte> scratch;
    std::vector<std::pair<std::uint64_t, std::optional<digest::Xxh3>>> results;
    const std::size_t end = std::min(check->blocks.size(), check->next + held_blocks_step);
    for (; check->next < end; ++check->next) {
      const auto block = check->blocks[check->next];
      results.emplace_back(block, digest_block(self->calls_, fd->get(), block, size, scratch));
    }
    const bool last = check->next == check->blocks.size();
    self->strand_.post([self, index, results = std::move(results), last] {
      if (last) --self->checks_running_;
      if (self->closed_ || self->failed_) return;
      if (const auto found = self->active_.find(index); found != self->active_.end()) {
        for (const auto& [block, digest] : results) {
          if (digest) {
            found->second.blocks.set_digest(block, *digest);
          } else {
            found->second.blocks.forget(block);
          }
        }
        self->on_blocks_changed(index, found->second);
      }
      self->start_sync(SyncReason::due);
      self->go_on_finishing();
    });
    if (const auto again = weak.lock(); !last && again) self->verify_.post([again] { (*again)(); });
  };
  verify_.post([step] { (*step)(); });
}

void SinkCore::follow_sha(std::uint64_t index, ActiveFile& file) {
  if (file.sha_busy || file.sha_ours || !file.fd) return;
  const std::uint64_t size = file.entry->size;
  const std::uint64_t ready = file.blocks.contiguous();
  if (ready < size && ready < file.sha_at + sha_step) return;
  if (!file.sha) {
    file.sha = std::make_shared<digest::Sha256Hasher>();
    file.sha_at = 0;
  }
  file.sha_busy = true;
  ++checks_running_;
  const std::uint64_t to = std::min(ready, file.sha_at + sha_step);
  verify_.post([self = shared_from_this(), hasher = file.sha, fd = file.fd, index, from = file.sha_at, to, size] {
    std::vector<std::byte> scratch(read_step);
    std::uint64_t at = from;
    while (at < to) {
      const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(scratch.size(), to - at));
      const auto got = self->calls_.pread(fd->get(), std::span{scratch}.first(want), at);
      if (got == -EINTR) continue;
      if (got <= 0) break;
      hasher->update(std::span{scratch}.first(static_cast<std::size_t>(got)));
      at += static_cast<std::uint64_t>(got);
    }
    std::optional<digest::Sha256> sum;
    if (at == size) sum = hasher->digest();
    self->strand_.post([self, hasher, index, at, to, sum] {
      --self->checks_running_;
      const auto found = self->active_.find(index);
      if (self->closed_ || self->failed_) return;
      if (found != self->active_.end()) {
        auto& file_now = found->second;
        if (file_now.sha == hasher) {  // else a block was found wrong meanwhile, and another began from the start
          if (at != to) {
            return self->fail_transfer(error_from_errno(EIO, "read back", file_now.target.absolute_text()));
          }
          file_now.sha_busy = false;
          file_now.sha_at = at;
          file_now.sha_ours = sum;
        }
        self->on_blocks_changed(index, file_now);
      }
      self->start_sync(SyncReason::due);
      self->go_on_finishing();
    });
  });
}

}  // namespace penstock::storage
