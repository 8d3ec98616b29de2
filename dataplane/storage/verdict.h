#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/digest/digest.h"
#include "common/error.h"
#include "common/result.h"
#include "common/units.h"
#include "dataplane/storage/block.h"

namespace penstock::storage {

/// What the sink wants of one entry (transfer.proto, Action). `send` is the rule, all else the exception.
enum class Action : std::uint8_t {
  send = 0,
  held = 1,         // `held` blocks are here from an earlier run; the rest is to be sent
  skip = 2,         // existing, left alone
  meta_only = 3,    // the content is right; mode and mtime have been corrected
  done_before = 4,  // this unfinished transfer completed it in an earlier run
  refuse = 5,       // `error` says why
};

struct Verdict {
  std::uint64_t index = 0;
  Action action = Action::send;
  std::vector<BlockRun> held;  // with `held`: ascending, disjoint
  std::optional<Error> error;  // with `refuse`
  bool operator==(const Verdict&) const = default;
};

/// Digests of consecutive blocks; they run on from the end of one file into the next regular file of the manifest.
/// Empty files have no block and are passed over, in both lists.
struct DigestRun {
  std::uint64_t index = 0;  // file of the first digest
  std::uint64_t first_block = 0;
  std::vector<digest::Xxh3> blocks;
  std::vector<digest::Sha256> files;  // with sha256: of each non-empty file whose last block is in `blocks`, in order
};

/// One finished file, as the receipt lists it.
struct FileReport {
  std::uint64_t index = 0;
  std::uint32_t root = 0;
  std::string path;         // raw bytes, as in the manifest
  std::string target_path;  // sink: where it landed, below the destination's base; source: empty
  std::uint64_t size = 0;
  digest::Digest digest;  // file_digest.h says of what
};

/// Keeps the report of a finished file for the receipt: called on storage's threads, one call at a time, before the
/// observer hears of the file; may write to the state directory. An error ends the transfer.
using KeepReport = std::function<Status(const FileReport&)>;

}  // namespace penstock::storage
