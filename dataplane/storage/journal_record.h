#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/digest/digest.h"
#include "dataplane/storage/block.h"
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
  std::vector<Published> published_before;  // earlier ones, which have the name still if the last rename never happened
  /// The next record of this path. False: it contradicts those before it, and this and all that follow count for
  /// nothing.
  [[nodiscard]] bool apply(const JournalRecord& record);
  /// Nothing is left that a later run could use or would have to remove.
  [[nodiscard]] bool empty() const { return !partial && intended.empty() && !published; }
};

/// The path that a record is about; nullptr: about the transfer as a whole.
[[nodiscard]] const std::string* path_of(const JournalRecord& record);

/// A journal begins with these bytes; the digits are the version.
inline constexpr std::string_view journal_magic = "PNSTKJ01";

/// Appends the bytes of one record as they stand in the file: length (4), sequence (8), type (1), body, CRC-32C of all
/// before (4); big-endian. Requires: encoded size at most journal_record_size_max.
void append_journal_record(std::vector<std::byte>& out, std::uint64_t sequence, const JournalRecord& record);
/// The same alone.
[[nodiscard]] std::vector<std::byte> encode_journal_record(std::uint64_t sequence, const JournalRecord& record);
inline constexpr std::size_t journal_record_size_max = 1024 * 1024;

/// Length, sequence and type: what comes before a record's body.
inline constexpr std::size_t journal_prefix_size = 4 + 8 + 1;
inline constexpr std::size_t journal_crc_size = 4;
/// The record at the beginning of `data`. nullopt: torn, damaged, malformed, or not of that sequence. `size`, where
/// given, gets its length.
[[nodiscard]] std::optional<JournalRecord> decode_journal_record(std::span<const std::byte> data,
                                                                 std::optional<std::uint64_t> expected_sequence,
                                                                 std::size_t* size = nullptr);

}  // namespace penstock::storage
