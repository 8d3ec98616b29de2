#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "common/result.h"
#include "dataplane/storage/journal_record.h"

namespace penstock::storage {

/// Bytes of a journal from a position on; fewer than asked for only at its end.
using JournalBytes = std::function<Result<std::size_t>(std::uint64_t at, std::span<std::byte> into)>;
[[nodiscard]] JournalBytes bytes_in_memory(std::span<const std::byte> journal);

/// Reads a journal from its first record to the first that is torn, damaged, malformed or out of sequence: behind that
/// nothing can be relied on. Memory: a buffer of 256 KiB, or of the longest record.
/// Threads: one owner.
class JournalScanner {
 public:
  explicit JournalScanner(JournalBytes read) : read_(std::move(read)) {}

  struct Found {
    std::uint64_t at = 0;  // in the file
    JournalRecord record;
  };
  /// nullopt: the end of what is whole. IO_ERROR: it could not be read.
  [[nodiscard]] Result<std::optional<Found>> next();
  /// Whole records so far; 0 at the end: no journal of this version.
  [[nodiscard]] std::uint64_t records() const { return records_; }
  /// Where the last of them ends: what is behind it is cut.
  [[nodiscard]] std::uint64_t valid_bytes() const { return at_; }

 private:
  /// The bytes at at_: `wanted` of them unless the file ends before.
  [[nodiscard]] Result<std::span<const std::byte>> view(std::size_t wanted);

  JournalBytes read_;
  std::vector<std::byte> buffer_;
  std::uint64_t buffer_at_ = 0;
  std::uint64_t at_ = 0;
  std::uint64_t records_ = 0;
  bool ended_ = false;
};

}  // namespace penstock::storage
