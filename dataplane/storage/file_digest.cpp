#include "dataplane/storage/file_digest.h"

#include "common/check.h"
#include "dataplane/storage/block.h"

namespace penstock::storage {

FileDigestBuilder::FileDigestBuilder(std::uint64_t file_size) : blocks_(block_count(file_size)) {}

void FileDigestBuilder::add(std::uint64_t block, const digest::Xxh3& digest) {
  PENSTOCK_CHECK(block < blocks_);
  if (blocks_ == 1) {
    only_ = digest;
    return;
  }
  if (block < folded_) return;
  waiting_[block] = digest;
  for (auto next = waiting_.find(folded_); next != waiting_.end(); next = waiting_.find(folded_)) {
    if (!hasher_) hasher_.emplace();
    hasher_->update(next->second.bytes);
    waiting_.erase(next);
    ++folded_;
  }
}

std::optional<digest::Xxh3> FileDigestBuilder::digest() const {
  if (blocks_ == 0) return digest::xxh3({});
  if (blocks_ == 1) return only_;
  if (folded_ < blocks_) return std::nullopt;
  return hasher_->digest();
}

}  // namespace penstock::storage
