#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "dataplane/storage/file_calls.h"
#include "dataplane/storage/journal_index.h"
#include "dataplane/storage/journal_record.h"
#include "dataplane/storage/state_space.h"

namespace penstock::storage {

/// The append-only memory of one unfinished transfer. Records are buffered by append, handed to the kernel by write
/// (they then survive our death) and made durable by sync (they then survive the machine's).
/// Bound: state_file_bytes_max, and the state directory's reserve (state_space.h); beyond either write fails.
/// After any error of write or sync the journal refuses further records: what it claims must never run ahead.
/// Threads: append and write on one strand; sync may run beside them on another thread. Locked while open.
class Journal {
 public:
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  [[nodiscard]] const TransferIdentity& identity() const { return earlier_.identity(); }
  /// What earlier runs left. Does not follow append.
  [[nodiscard]] JournalIndex& earlier() { return earlier_; }
  [[nodiscard]] const JournalIndex& earlier() const { return earlier_; }
  /// Whether a record, of this run or an earlier one, says that this inode was published. Reads the whole file.
  /// Requires: all that was appended is written.
  [[nodiscard]] Result<bool> has_published(std::uint64_t device, std::uint64_t inode) const;
  /// False while nothing is recorded that a resume could use: of this run or an earlier one.
  [[nodiscard]] bool worth_keeping() const { return worth_keeping_; }

  void append(const JournalRecord& record);
  [[nodiscard]] Status write();
  /// One at a time; at once when nothing was written since the last.
  [[nodiscard]] Status sync();
  /// The transfer has published all, but something of ours is left that a later run, or its expiry, must know of:
  /// finish() keeps the file.
  void keep_for_leftovers() { leftovers_ = true; }
  /// The transfer is over for both ends: says so in a last record and unlinks the file. Blocks. Requires: no sink
  /// appends any more (after on_committed it does not).
  [[nodiscard]] Status finish();
  /// Unlinks the file: the transfer is given up.
  [[nodiscard]] Status remove();

 private:
  friend class JournalStore;
  struct Opened {
    UniqueFd file;
    std::uint64_t size = 0;
    std::uint64_t next_sequence = 0;
  };
  Journal(Opened opened, int directory, std::string name, JournalIndex earlier, FileCalls& calls);

  UniqueFd file_;
  int directory_;  // borrowed from the store
  std::string name_;
  JournalIndex earlier_;
  std::uint64_t size_;
  std::uint64_t next_sequence_;
  std::vector<std::byte> buffer_;
  bool worth_keeping_;
  std::optional<Error> failed_;
  std::atomic<bool> sync_failed_{false};  // set by sync(), which runs beside the strand
  std::atomic<bool> unsynced_{true};      // the kernel has records that the disk may not have
  std::atomic<bool> leftovers_{false};
  FileCalls& calls_;
  StateSpace space_;
};

/// Bytes of a journal that is open as `file`, which is borrowed.
[[nodiscard]] JournalBytes bytes_of_file(int file, std::string name, FileCalls& calls);

}  // namespace penstock::storage
