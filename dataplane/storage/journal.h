#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/digest/digest.h"
#include "common/result.h"
#include "common/unique_fd.h"
#include "dataplane/storage/block.h"
#include "dataplane/storage/file_calls.h"
#include "dataplane/storage/manifest_entry.h"

namespace penstock::storage {

using TransferId = std::array<std::byte, 16>;
using ResumeKey = std::array<std::byte, 32>;
using OwnerId = std::array<std::byte, 16>;  // the client's UUID; on a client: of its registration

/// Which transfer a journal belongs to.
struct TransferIdentity {
  TransferId transfer{};
  ResumeKey resume_key{};
  OwnerId owner{};
  std::string destination;  // as given, for people; raw bytes
  std::string base;         // what all paths of the records are below, in the owner's words: a grant, "/" on a client
  bool operator==(const TransferIdentity&) const = default;
};

// The records after the first. Paths are targets below the destination's root descriptor, raw bytes.

/// A partial is about to be created: written before the file exists, so that none is ever forgotten.
struct PartialIntended {
  std::string path;          // target
  std::string partial_name;  // in the target's directory
  bool operator==(const PartialIntended&) const = default;
};
/// The partial and the directories above it are durable.
struct PartialCreated {
  std::string path;
  std::string partial_name;
  FileIdentity source{};
  std::uint64_t size = 0;  // of the finished file
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  bool operator==(const PartialCreated&) const = default;
};
/// These blocks of the path's partial are durable and had these digests.
struct BlocksDurable {
  std::string path;
  std::uint64_t first_block = 0;
  std::vector<digest::Xxh3> digests;
  bool operator==(const BlocksDurable&) const = default;
};
/// These blocks turned out wrong (repair, re-read): not durable any more.
struct BlocksLost {
  std::string path;
  BlockRun blocks;
  bool operator==(const BlocksLost&) const = default;
};
/// The file is durable, verified and about to get its name; it has it where path is this device and inode.
struct Published {
  std::string path;
  FileIdentity source{};
  std::uint64_t size = 0;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t mtime_ns = 0;
  digest::Digest digest{digest::Xxh3{}};
  bool operator==(const Published&) const = default;
};
/// The partial is gone for good (failed, given up, replaced by another).
struct PartialDropped {
  std::string path;
  bool operator==(const PartialDropped&) const = default;
};
struct Finished {
  bool operator==(const Finished&) const = default;
};
using JournalRecord = std::variant<TransferIdentity, PartialIntended, PartialCreated, BlocksDurable, BlocksLost,
                                   Published, PartialDropped, Finished>;

/// What the records of one path add up to.
struct JournalFile {
  std::optional<PartialCreated> partial;
  std::vector<std::string> intended;              // partial names that may exist without a PartialCreated
  std::map<std::uint64_t, digest::Xxh3> durable;  // block -> digest, of `partial`
  std::optional<Published> published;
};
struct JournalState {
  TransferIdentity identity;
  std::map<std::string, JournalFile> files;  // by target path
  bool finished = false;
  std::uint64_t records = 0;
};

/// A journal begins with these bytes; the digits are the version.
inline constexpr std::string_view journal_magic = "PNSTKJ01";

/// Bytes of one record in the file: length (4), sequence (8), type (1), body, CRC-32C of all before (4); big-endian.
/// Requires: encoded size at most journal_record_size_max.
[[nodiscard]] std::vector<std::byte> encode_journal_record(std::uint64_t sequence, const JournalRecord& record);
inline constexpr std::size_t journal_record_size_max = 1024 * 1024;

/// What a journal file's bytes say, up to the first record that is torn, out of sequence, malformed or damaged;
/// `valid_bytes` is where that begins: all behind it is cut. nullopt: no journal of this version.
struct JournalReplay {
  JournalState state;
  std::uint64_t valid_bytes = 0;
};
[[nodiscard]] std::optional<JournalReplay> replay_journal(std::span<const std::byte> file);

/// The append-only memory of one unfinished transfer. Records are buffered by append, handed to the kernel by write
/// (they then survive our death) and made durable by sync (they then survive the machine's).
/// After any error of write or sync the journal refuses further records: what it claims must never run ahead.
/// Threads: append and write on one strand; sync may run beside them on another thread. Locked while open.
class Journal {
 public:
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// What earlier runs left, less what settle() was told of. Does not follow append.
  [[nodiscard]] const JournalState& state() const { return state_; }
  /// What an earlier run left of this path is dealt with: forgotten, so that at the end only leftovers remain.
  void settle(const std::string& path) { state_.files.erase(path); }
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
  Journal(UniqueFd file, int directory, std::string name, JournalState state, std::uint64_t size, FileCalls& calls);

  UniqueFd file_;
  int directory_;  // borrowed from the store
  std::string name_;
  JournalState state_;
  std::uint64_t size_;
  std::uint64_t next_sequence_;
  std::vector<std::byte> buffer_;
  bool worth_keeping_;
  std::optional<Error> failed_;
  std::atomic<bool> sync_failed_{false};  // set by sync(), which runs beside the strand
  std::atomic<bool> unsynced_{true};      // the kernel has records that the disk may not have
  std::atomic<bool> leftovers_{false};
  FileCalls& calls_;
};

}  // namespace penstock::storage
