#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include "common/digest/digest.h"
#include "common/digest/xxh3.h"

namespace penstock::storage {

/// A file's digest under xxh3, made from its blocks' digests: the block's own when there is exactly one (so `xxhsum
/// -H2` agrees for files up to 1 MiB), of nothing when there is none, else XXH3-128 over the blocks' canonical digests
/// in a row. Blocks may come in any order, each once or again with a new value until it is folded. Memory: 24 bytes a
/// block that came before its turn. Threads: one owner.
class FileDigestBuilder {
 public:
  explicit FileDigestBuilder(std::uint64_t file_size);

  void add(std::uint64_t block, const digest::Xxh3& digest);
  /// Set once every block has come.
  [[nodiscard]] std::optional<digest::Xxh3> digest() const;

 private:
  std::uint64_t blocks_;
  std::uint64_t folded_ = 0;  // blocks below it are in hasher_
  std::optional<digest::Xxh3> only_;
  std::optional<digest::Xxh3Hasher> hasher_;  // files of several blocks only
  std::map<std::uint64_t, digest::Xxh3> waiting_;
};

}  // namespace penstock::storage
