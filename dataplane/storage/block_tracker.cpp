#include "dataplane/storage/block_tracker.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace penstock::storage {

namespace {
// 64 GiB ahead; no window is so large, and a peer says how large a file is.
constexpr std::size_t digests_ahead_max = 65536;
}  // namespace

BlockTracker::BlockTracker(std::uint64_t file_size, std::span<const Hole> holes)
    : size_(file_size), builder_(file_size) {
  for (const auto& hole : holes) {
    holes_.insert({hole.offset, hole.offset + hole.length});
    covered_.insert({hole.offset, hole.offset + hole.length});
  }
}

void BlockTracker::add_held(std::uint64_t block, const digest::Xxh3& recorded) {
  PENSTOCK_CHECK(block < block_count(size_));
  if (only_hole(block)) return;
  const auto range = bytes_of(block);
  covered_.insert(range);
  held_.insert({block, block + 1});
  recorded_[block] = recorded;
}

std::optional<bytes::Interval> BlockTracker::first_gap(std::uint64_t from, std::uint64_t to) const {
  return covered_.first_gap({from, to});
}

void BlockTracker::on_written(std::uint64_t offset, std::span<const std::byte> data) {
  PENSTOCK_CHECK(offset <= size_ && data.size() <= size_ - offset);
  covered_.insert({offset, offset + data.size()});
  while (!data.empty()) {
    const std::uint64_t block = offset / block_size;
    const auto range = bytes_of(block);
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), range.end - offset));
    const auto part = data.first(length);
    if (offset == range.begin && length == range.size()) {
      set_digest(block, digest::xxh3(part));
    } else {
      if (offset == range.begin) {
        if (!stream_) stream_.emplace();
        stream_->reset();
        stream_block_ = block;
        stream_at_ = offset;
      }
      if (stream_ && stream_block_ == block && stream_at_ == offset) {
        stream_->update(part);
        stream_at_ += length;
      }
      complete_if_covered(block);
    }
    offset += length;
    data = data.subspan(length);
  }
}

void BlockTracker::complete_if_covered(std::uint64_t block) {
  const auto range = bytes_of(block);
  if (!covered_.contains(range)) return;
  if (stream_ && stream_block_ == block && stream_at_ == range.end) {
    set_digest(block, stream_->digest());
  } else {
    unread_.push_back(block);
  }
}

std::vector<std::uint64_t> BlockTracker::take_unread() { return std::exchange(unread_, {}); }

void BlockTracker::set_digest(std::uint64_t block, const digest::Xxh3& digest) {
  if (const auto recorded = recorded_.find(block); recorded != recorded_.end()) {
    // A held block: its recorded digest was the source's once, and the source's file is still the same.
    const auto expected = recorded->second;
    recorded_.erase(recorded);
    const auto newer = theirs_.find(block);
    settle(block, digest, newer == theirs_.end() ? expected : newer->second);
    return;
  }
  if (const auto theirs = theirs_.find(block); theirs != theirs_.end()) {
    settle(block, digest, theirs->second);
  } else {
    ours_[block] = digest;
  }
}

void BlockTracker::set_source_digest(std::uint64_t block, const digest::Xxh3& digest) {
  PENSTOCK_CHECK(block < block_count(size_));
  if (verified_.contains(block)) return;
  if (only_hole(block)) return settle(block, digest_of_zeros(bytes_of(block).size()), digest);
  if (const auto ours = ours_.find(block); ours != ours_.end()) {
    settle(block, ours->second, digest);
  } else if (theirs_.size() < digests_ahead_max) {
    theirs_[block] = digest;
  }
}

void BlockTracker::settle(std::uint64_t block, const digest::Xxh3& ours, const digest::Xxh3& theirs) {
  if (ours != theirs) {
    forget(block);
    wrong_.push_back(block);
    return;
  }
  verified_.insert({block, block + 1});
  builder_.add(block, ours);
  if (!held_.contains(block)) fresh_.emplace_back(block, ours);
  ours_.erase(block);
  theirs_.erase(block);
}

void BlockTracker::forget(const BlockRun& blocks) {
  const bytes::Interval range{blocks.first * block_size, std::min(size_, blocks.end() * block_size)};
  covered_.erase(range);
  for (auto hole = holes_.first_overlap(range); hole; hole = holes_.first_overlap({hole->end, range.end})) {
    covered_.insert(*hole);
    if (hole->end >= range.end) break;
  }
  held_.erase({blocks.first, blocks.end()});
  verified_.erase({blocks.first, blocks.end()});
  const auto drop = [&](auto& digests) {
    digests.erase(digests.lower_bound(blocks.first), digests.lower_bound(blocks.end()));
  };
  drop(ours_);
  drop(theirs_);  // the source digests them again when it sends them again
  drop(recorded_);
  std::erase_if(unread_, [&](std::uint64_t block) { return block >= blocks.first && block < blocks.end(); });
  if (stream_ && stream_block_ >= blocks.first && stream_block_ < blocks.end()) stream_.reset();
}

std::vector<std::pair<std::uint64_t, digest::Xxh3>> BlockTracker::take_verified() { return std::exchange(fresh_, {}); }
std::vector<std::uint64_t> BlockTracker::take_wrong() { return std::exchange(wrong_, {}); }

std::vector<BlockRun> BlockTracker::unverified() const {
  std::vector<BlockRun> runs;
  const std::uint64_t end = block_count(size_);
  for (auto gap = verified_.first_gap({0, end}); gap; gap = verified_.first_gap({gap->end, end})) {
    runs.push_back({gap->begin, gap->size()});
    if (gap->end == end) break;
  }
  return runs;
}

std::uint64_t BlockTracker::contiguous() const {
  const auto gap = covered_.first_gap({0, size_});
  return gap ? gap->begin : size_;
}

std::vector<bytes::Interval> BlockTracker::data_in(std::uint64_t from, std::uint64_t to) const {
  std::vector<bytes::Interval> runs;
  to = std::min(to, size_);
  for (auto gap = holes_.first_gap({from, to}); gap; gap = holes_.first_gap({gap->end, to})) {
    runs.push_back(*gap);
    if (gap->end >= to) break;
  }
  return runs;
}

std::uint64_t BlockTracker::held_bytes() const {
  std::uint64_t sum = held_.size() * block_size;
  if (size_ % block_size != 0 && held_.contains(size_ / block_size)) sum -= block_size - size_ % block_size;
  return sum;
}

bytes::Interval BlockTracker::bytes_of(std::uint64_t block) const {
  return {block * block_size, std::min(size_, (block + 1) * block_size)};
}

bool BlockTracker::only_hole(std::uint64_t block) const { return holes_.contains(bytes_of(block)); }

digest::Xxh3 digest_of_zeros(std::uint64_t size) {
  PENSTOCK_CHECK(size <= block_size);
  static const std::vector<std::byte> zeros(static_cast<std::size_t>(block_size));
  static const digest::Xxh3 whole = digest::xxh3(zeros);
  return size == block_size ? whole : digest::xxh3(std::span{zeros}.first(static_cast<std::size_t>(size)));
}

}  // namespace penstock::storage
