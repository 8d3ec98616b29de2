// What is read besides the pass: evicted slabs, repair rounds, and blocks that the far end holds.
#include <algorithm>
#include <utility>

#include "dataplane/storage/block_tracker.h"
#include "dataplane/storage/reader_core.h"

namespace penstock::storage {

namespace {
constexpr std::size_t read_step = 128 * 1024;
constexpr std::uint64_t resend_blocks_per_step = 32;
constexpr std::uint64_t late_blocks_per_step = 2;  // few, so that bytes for the wire never wait long

/// Hands the bytes [from, to) of a file to `use`, piece by piece.
template <class Use>
Status read_range(SourceFile& file, std::uint64_t from, std::uint64_t to, std::vector<std::byte>& scratch, Use use) {
  scratch.resize(read_step);
  while (from < to) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(scratch.size(), to - from));
    auto got = file.read(from, std::span{scratch}.first(want));
    if (!got) return std::move(got).error();
    if (*got == 0) return became_shorter();
    use(std::span<const std::byte>{scratch}.first(*got));
    from += *got;
  }
  return {};
}
}  // namespace

Result<SourceFile*> ReaderCore::open_cached(std::uint64_t index, const ManifestEntry& entry) {
  if (!reread_file_ || reread_file_->first != index) {
    auto opened = source_->open(entry);
    if (!opened) return std::move(opened).error();
    reread_file_.emplace(index, std::move(*opened));
  }
  return reread_file_->second.get();
}

std::vector<TransferRange> ReaderCore::read_again(TransferRange range, std::span<std::byte> room) {
  std::vector<TransferRange> filled;
  for (std::uint64_t at = range.begin.value; at < range.end.value && !closed_;) {
    auto place = store_.locate(at);
    if (!place) break;
    const std::uint64_t length = std::min(range.end.value - at, place->bytes_left);
    auto entry = store_.get(place->index);
    if (!entry) break;
    if (!failed_.contains(place->index) && plan_of(place->index).want != Want::nothing) {
      auto file = open_cached(place->index, **entry);
      const auto part =
          room.subspan(static_cast<std::size_t>(at - range.begin.value), static_cast<std::size_t>(length));
      Status status;
      if (!file) {
        status = std::move(file).error();
      } else if (auto got = (*file)->read(place->file_offset, part); !got) {
        status = std::move(got).error();
      } else if (*got < part.size()) {
        status = became_shorter();
      } else {
        status = check_unchanged(**file, **entry);
      }
      if (!status) {
        fail_file(place->index, std::move(status).error());
      } else if (!filled.empty() && filled.back().end.value == at) {
        filled.back().end.value = at + length;
      } else {
        filled.push_back({{at}, {at + length}});
      }
    }
    at += length;
  }
  return filled;
}

std::uint64_t ReaderCore::released_end() const {
  if (released_ < store_.entries()) {
    if (auto offset = store_.offset_of(released_)) return *offset;
  }
  return store_.bytes();
}

void ReaderCore::reread(std::uint64_t number, SharedSlab slab) {
  const TransferRange range{{number * slab_bytes}, {std::min(released_end(), (number + 1) * slab_bytes)}};
  FilledRanges filled{.number = number, .slab = nullptr, .ranges = read_again(range, slab->bytes())};
  filled.slab = std::move(slab);
  tell_([number, filled = std::move(filled)](ReaderListener& listener) mutable {
    if (!filled.ranges.empty()) listener.on_filled(std::move(filled));
    filled.slab.reset();
    listener.on_reread(number);
  });
}

void ReaderCore::patch(TransferRange range) {
  Patch patch{.at = range.begin, .bytes = std::make_shared<std::vector<std::byte>>()};
  const std::uint64_t end = std::min(released_end(), range.end.value);
  if (end > range.begin.value) {
    patch.bytes->resize(static_cast<std::size_t>(end - range.begin.value));
    const auto filled = read_again({range.begin, {end}}, *patch.bytes);
    // What lies behind a file that failed is asked for again.
    const bool begins = !filled.empty() && filled.front().begin == range.begin;
    patch.bytes->resize(begins ? static_cast<std::size_t>(filled.front().size()) : 0);
  }
  tell_([range, patch = std::move(patch)](ReaderListener& listener) { listener.on_patched(range, patch); });
}

void ReaderCore::resend(const std::vector<EntryBlocks>& blocks) {
  const bool running = !resend_queue_.empty();
  resend_queue_.insert(resend_queue_.end(), blocks.begin(), blocks.end());
  if (running) return;
  // Blocks that do not exist are passed over before they cost steps: a peer says how many there are.
  resend_step();
}

void ReaderCore::resend_step() {
  std::vector<EntryBlocks> now;
  for (std::uint64_t left = resend_blocks_per_step; left > 0 && !resend_queue_.empty() && !closed_;) {
    auto& [index, run] = resend_queue_.front();
    auto found = index < released_ ? store_.get(index) : Result<std::shared_ptr<const ManifestEntry>>{nullptr};
    const std::uint64_t count = found && *found != nullptr ? block_count((*found)->size) : 0;
    if (run.count == 0 || run.first >= count || run.count > count - run.first || failed_.contains(index)) {
      resend_queue_.pop_front();
      --left;
      continue;
    }
    const std::uint64_t part = std::min(left, run.count);
    now.push_back({index, {run.first, part}});
    left -= part;
    run.first += part;
    run.count -= part;
    if (run.count == 0) resend_queue_.pop_front();
  }
  if (closed_) return;
  resend_some(now);
  if (!resend_queue_.empty()) {
    // Others share this thread: a whole file is not read again in one go.
    return strand_.post([self = shared_from_this()] { self->resend_step(); });
  }
  tell_([ranges = std::exchange(resend_ranges_, {})](ReaderListener& listener) {
    listener.observer().on_resend(ranges);
  });
  tell_if_all_read();
}

void ReaderCore::resend_some(const std::vector<EntryBlocks>& blocks) {
  auto& ranges = resend_ranges_;
  flush_digests();
  for (const auto& [index, run] : blocks) {
    if (closed_ || index >= released_) continue;
    auto found = store_.get(index);
    auto begin = store_.offset_of(index);
    if (!found || !begin || (*found)->type != FileType::regular || failed_.contains(index)) continue;
    const auto& entry = **found;
    const std::uint64_t count = block_count(entry.size);
    if (run.first >= count || run.count > count - run.first || run.count == 0) continue;
    // What the pass has yet to read is digested there.
    if (index >= next_index_) continue;
    drop_plan(index);
    auto file = open_cached(index, entry);
    Status status = file ? Status{} : Status{file.error()};
    run_broken_ = true;
    const BlockTracker extents{entry.size, entry.holes};
    for (std::uint64_t block = run.first; status && block < run.end(); ++block) {
      const std::uint64_t from = block * block_size;
      const std::uint64_t to = std::min(entry.size, from + block_size);
      digest::Xxh3Hasher hasher;
      status = read_range(**file, from, to, scratch_, [&](std::span<const std::byte> part) { hasher.update(part); });
      if (status) add_digest(index, block, hasher.digest());
    }
    if (status && config_.algorithm == digest::Algorithm::sha256 && run.end() == count) {
      digest::Sha256Hasher hasher;
      status =
          read_range(**file, 0, entry.size, scratch_, [&](std::span<const std::byte> part) { hasher.update(part); });
      if (status) add_sum(hasher.digest());
    }
    if (status) status = check_unchanged(**file, entry);
    if (!status) {
      fail_file(index, std::move(status).error());
      continue;
    }
    for (const auto& data : extents.data_in(run.first * block_size, run.end() * block_size)) {
      ranges.push_back({{*begin + data.begin}, {*begin + data.end}});
    }
  }
  flush_digests();
}

void ReaderCore::queue_late(std::uint64_t index, LateFile late) {
  late_.insert_or_assign(index, std::move(late));
  run_late();
}

bool ReaderCore::begin_late_whole() {
  if (late_whole_.empty()) return false;
  const std::uint64_t index = late_whole_.front().begin;
  late_whole_.erase({index, index + 1});
  auto entry = store_.get(index);
  if (!entry) return fail_file(index, std::move(entry).error()), !late_whole_.empty();
  LateFile late{.builder = FileDigestBuilder{(*entry)->size}, .blocks = {}};
  late.passed = true;
  if (config_.algorithm == digest::Algorithm::sha256) {
    late.sha.emplace();
  } else {
    for (std::uint64_t block = 0; block < block_count((*entry)->size); ++block) late.blocks.push_back(block);
  }
  late_.insert_or_assign(index, std::move(late));
  return true;
}

void ReaderCore::run_late() {
  if (late_running_ || (late_.empty() && late_whole_.empty()) || closed_) return;
  late_running_ = true;
  strand_.post([self = shared_from_this()] {
    self->late_running_ = false;
    if (self->closed_) return;
    if (!self->late_.empty() || self->begin_late_whole()) {
      if (const auto first = self->late_.begin(); first != self->late_.end())
        self->late_step(first->first, first->second);
    }
    self->run_late();
    self->tell_if_all_read();
  });
}

void ReaderCore::late_step(std::uint64_t index, LateFile& late) {
  auto found = store_.get(index);
  if (!found) return fail_file(index, std::move(found).error());
  const auto& entry = **found;
  auto file = open_cached(index, entry);
  if (!file) return fail_file(index, std::move(file).error());
  Status status;
  if (late.sha) {
    const std::uint64_t to = std::min(entry.size, late.sha_at + late_blocks_per_step * block_size);
    status =
        read_range(**file, late.sha_at, to, scratch_, [&](std::span<const std::byte> part) { late.sha->update(part); });
    late.sha_at = to;
  }
  flush_digests();
  run_broken_ = true;
  for (std::uint64_t i = 0; status && i < late_blocks_per_step && late.next < late.blocks.size(); ++i, ++late.next) {
    const std::uint64_t block = late.blocks[late.next];
    const std::uint64_t from = block * block_size;
    digest::Xxh3Hasher hasher;
    status = read_range(**file, from, std::min(entry.size, from + block_size), scratch_,
                        [&](std::span<const std::byte> part) { hasher.update(part); });
    if (!status) break;
    late.builder.add(block, hasher.digest());
    if (late.tell_digests) add_digest(index, block, hasher.digest());
  }
  flush_digests();
  if (!status) return fail_file(index, std::move(status).error());
  if (late.next < late.blocks.size() || (late.sha && late.sha_at < entry.size)) return;
  if (auto same = check_unchanged(**file, entry); !same) return fail_file(index, std::move(same).error());
  finish_late(index, late);
}

void ReaderCore::finish_late(std::uint64_t index, LateFile& late) {
  auto found = store_.get(index);
  if (!found) return fail_file(index, std::move(found).error());
  if (late.sha) {
    const auto sum = late.sha->digest();
    if (late.tell_digests) {
      // The sum travels with its file's last block, whose digest is told once more.
      const std::uint64_t last = block_count((*found)->size) - 1;
      auto file = open_cached(index, **found);
      digest::Xxh3Hasher hasher;
      Status status = file ? read_range(**file, last * block_size, (*found)->size, scratch_,
                                        [&](std::span<const std::byte> part) { hasher.update(part); })
                           : Status{file.error()};
      if (!status) return fail_file(index, std::move(status).error());
      run_broken_ = true;
      add_digest(index, last, hasher.digest());
      add_sum(sum);
      flush_digests();
    }
    report_file(index, **found, digest::Digest{sum});
  } else if (const auto digest = late.builder.digest()) {
    report_file(index, **found, digest::Digest{*digest});
  }
  flush_reports();
  late_.erase(index);
}

}  // namespace penstock::storage
