#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "dataplane/storage/journal_record.h"
#include "dataplane/storage/journal_scanner.h"
#include "dataplane/storage/spill_file.h"

namespace penstock::storage {

/// What earlier runs recorded, by path, with the records left in the journal's file: a hash of the path and a place for
/// each record, sorted in a spill file.
/// A record that contradicts those before it of its path ends what is believed of that path.
/// Memory: 8 bytes for 292 records, one bit a record, and a page; while it is built, that of a SpillSorter besides.
/// Threads: one owner.
class JournalIndex {
 public:
  /// Of a journal that has no record but its identity.
  explicit JournalIndex(TransferIdentity identity);

  /// Reads all of a journal. nullopt: no journal of this version, or torn before its identity was whole. `read` stays
  /// in use for the index's life. `directory` is borrowed: for the spill file; -1: memory.
  [[nodiscard]] static Result<std::optional<JournalIndex>> build(JournalBytes read, int directory,
                                                                 FileCalls& calls = FileCalls::kernel());

  [[nodiscard]] const TransferIdentity& identity() const { return identity_; }
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] std::uint64_t records() const { return records_; }
  /// Where the last whole record ends.
  [[nodiscard]] std::uint64_t valid_bytes() const { return valid_bytes_; }
  /// Of any path.
  [[nodiscard]] bool has_files() const { return count_ > 0; }

  /// What the records of this path add up to. nullopt: there is none, nothing is left, or it was settled. IO_ERROR.
  [[nodiscard]] Result<std::optional<JournalFile>> find(const std::string& path) const;
  /// What an earlier run left of this path is dealt with: forgotten, so that at the end only leftovers remain. A path
  /// that can not be looked up stays. Cheap right after find().
  void settle(const std::string& path);
  /// Each path that was not settled and of which something is left; in no order.
  using Use = std::function<void(const std::string& path, const JournalFile& file)>;
  [[nodiscard]] Status for_each_left(const Use& use) const;

 private:
  struct Slot {
    std::uint64_t hash = 0;
    std::uint64_t at = 0;
  };
  [[nodiscard]] Result<Slot> slot(std::uint64_t number) const;
  /// The first slot of this hash or a larger one.
  [[nodiscard]] Result<std::uint64_t> lower_bound(std::uint64_t hash) const;
  [[nodiscard]] Result<JournalRecord> record_at(std::uint64_t at) const;
  struct Entry {
    std::uint64_t slot = 0;
    JournalRecord record;
  };
  /// Not settled ones, in the order of their coming.
  [[nodiscard]] Result<std::vector<Entry>> entries_of(const std::string& path) const;

  JournalBytes read_;
  TransferIdentity identity_;
  bool finished_ = false;
  std::uint64_t records_ = 1;
  std::uint64_t valid_bytes_ = 0;
  std::uint64_t count_ = 0;  // slots
  SpillFile slots_;
  std::vector<std::uint64_t> page_hashes_;  // of each page's first slot
  std::vector<bool> settled_;               // by slot
  mutable std::optional<std::size_t> page_;
  mutable std::vector<std::byte> page_bytes_;
  struct LastFound {
    std::string path;
    std::vector<std::uint64_t> slots;
  };
  mutable LastFound last_found_;
};

}  // namespace penstock::storage
