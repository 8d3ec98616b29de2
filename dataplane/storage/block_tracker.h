#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/digest/digest.h"
#include "common/digest/xxh3.h"
#include "dataplane/storage/block.h"
#include "dataplane/storage/file_digest.h"
#include "dataplane/storage/manifest_entry.h"

namespace penstock::storage {

/// Which bytes of one file are here, and which of its blocks are known to be right.
///   missing --all bytes written--> complete --digest known, equal to the source's--> verified
///       ^------------------------- digest differs, or a held block reads back wrong --------'
/// A block that is written in order is digested on the way; of any other the owner reads back what take_unread names.
/// Blocks of holes alone count as written from the start. Held blocks (from an earlier run) are verified when they read
/// back as the journal says (set_digest), and their recorded digests were once equal to the source's.
/// Of the source's digests at most `digests_ahead_max` are kept ahead of their bytes; blocks whose digest was not kept
/// stay unverified, and repair brings it again. Pure: no file is touched here. Threads: one owner. Memory: 16 bytes for
/// each run of bytes, 40 for each block between complete and verified.
class BlockTracker {
 public:
  BlockTracker(std::uint64_t file_size, std::span<const Hole> holes);

  /// An earlier run's block, still to be read back. Requires: before anything else.
  void add_held(std::uint64_t block, const digest::Xxh3& recorded);

  /// The first part of [from, to) that is not here yet; nothing else may be written.
  [[nodiscard]] std::optional<bytes::Interval> first_gap(std::uint64_t from, std::uint64_t to) const;
  /// Requires: no byte of it was here.
  void on_written(std::uint64_t offset, std::span<const std::byte> data);
  /// Complete blocks whose digest is not known, to be read back and given to set_digest; each named once.
  [[nodiscard]] std::vector<std::uint64_t> take_unread();
  void set_digest(std::uint64_t block, const digest::Xxh3& digest);
  /// Requires: block < block_count(file_size).
  void set_source_digest(std::uint64_t block, const digest::Xxh3& digest);
  /// The block is missing again, its holes apart.
  void forget(std::uint64_t block) { forget(BlockRun{block, 1}); }
  /// The same for a run, in time that does not grow with its length: a peer says how large a file is.
  void forget(const BlockRun& blocks);

  /// Blocks that became verified since the last call, for the journal; held ones are there already.
  [[nodiscard]] std::vector<std::pair<std::uint64_t, digest::Xxh3>> take_verified();
  /// Blocks that were found wrong since the last call.
  [[nodiscard]] std::vector<std::uint64_t> take_wrong();

  [[nodiscard]] bool complete() const { return covered_.contains({0, size_}); }
  [[nodiscard]] bool is_verified(std::uint64_t block) const { return verified_.contains(block); }
  [[nodiscard]] bool verified() const { return verified_.size() == block_count(size_); }
  /// Ascending runs of blocks that are not verified and, as things are, will not be: bytes or the source's digest are
  /// missing.
  [[nodiscard]] std::vector<BlockRun> unverified() const;
  /// The first byte that is not here; size when all are.
  [[nodiscard]] std::uint64_t contiguous() const;
  /// Parts of [from, to) that are sent, that is: no hole.
  [[nodiscard]] std::vector<bytes::Interval> data_in(std::uint64_t from, std::uint64_t to) const;
  /// Set once verified.
  [[nodiscard]] std::optional<digest::Xxh3> file_digest() const { return builder_.digest(); }
  [[nodiscard]] std::uint64_t held_bytes() const;
  /// Of an earlier run, read back or not.
  [[nodiscard]] bool is_held(std::uint64_t block) const { return held_.contains(block); }
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  [[nodiscard]] bytes::Interval bytes_of(std::uint64_t block) const;
  [[nodiscard]] bool only_hole(std::uint64_t block) const;
  void complete_if_covered(std::uint64_t block);
  void settle(std::uint64_t block, const digest::Xxh3& ours, const digest::Xxh3& theirs);

  std::uint64_t size_;
  bytes::IntervalSet holes_;                        // bytes
  bytes::IntervalSet covered_;                      // bytes
  bytes::IntervalSet verified_;                     // blocks
  bytes::IntervalSet held_;                         // blocks
  std::map<std::uint64_t, digest::Xxh3> ours_;      // complete blocks awaiting the source's digest
  std::map<std::uint64_t, digest::Xxh3> theirs_;    // source digests awaiting the block
  std::map<std::uint64_t, digest::Xxh3> recorded_;  // of held blocks
  std::vector<std::uint64_t> unread_;
  std::vector<std::pair<std::uint64_t, digest::Xxh3>> fresh_;
  std::vector<std::uint64_t> wrong_;
  FileDigestBuilder builder_;
  std::optional<digest::Xxh3Hasher> stream_;  // bytes [stream_block_ x block_size, stream_at_)
  std::uint64_t stream_block_ = 0;
  std::uint64_t stream_at_ = 0;
};

/// XXH3-128 of `size` zeros, at most one block; of a whole block it is computed once.
[[nodiscard]] digest::Xxh3 digest_of_zeros(std::uint64_t size);

}  // namespace penstock::storage
