#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/path/safe_path.h"
#include "common/result.h"
#include "dataplane/storage/journal.h"
#include "dataplane/storage/manifest_entry.h"
#include "dataplane/storage/posix_sink.h"
#include "dataplane/storage/sink.h"
#include "dataplane/storage/target_tree.h"

namespace penstock::storage {

/// What becomes of one entry.
struct Judgement {
  Action action = Action::send;
  std::optional<Error> error;                  // with refuse
  bool replaces = false;                       // something stands in the place, and may be replaced
  bool new_directory = false;                  // made now
  std::shared_ptr<const JournalFile> earlier;  // what an earlier run left of this file or link; nullptr: nothing
};

/// Decides where each entry lands and whether it may, by the words of the command and what stands there. Creates
/// directories on the way (not in a dry run), nothing else. Rules: CLI.md section 2.
/// Threads: one owner. Memory: one landing path for each root.
class TargetJudge {
 public:
  /// All are borrowed for the judge's life; `journal` is nullptr in a dry run.
  TargetJudge(const PosixSinkConfig& config, TargetTree& tree, Journal* journal);

  /// Entries come in manifest order, accepted by a validator.
  [[nodiscard]] Judgement judge(const ManifestEntry& entry);
  /// Where the entry lands. Requires: its root was judged, and not refused.
  [[nodiscard]] path::SafePath target_of(const ManifestEntry& entry) const;

 private:
  [[nodiscard]] Result<path::SafePath> landing_of(const ManifestEntry& root_entry);
  using Earlier = std::shared_ptr<const JournalFile>;
  [[nodiscard]] Judgement judge_directory(const ManifestEntry& entry, const path::SafePath& target,
                                          const Earlier& earlier);
  [[nodiscard]] Judgement judge_leaf(const ManifestEntry& entry, const path::SafePath& target, Earlier earlier);
  [[nodiscard]] Judgement judge_existing(const ManifestEntry& entry, const path::SafePath& target,
                                         const struct stat& status, int directory, Judgement judgement);
  /// Of a file or link that is as the entry says, but perhaps for its time.
  void correct_mtime(const ManifestEntry& entry, const path::SafePath& target, const struct stat& status, int directory,
                     Judgement& judgement) const;
  /// nullopt: nothing there.
  [[nodiscard]] Result<std::optional<struct stat>> look(const path::SafePath& target);
  /// nullptr: nothing.
  [[nodiscard]] Result<Earlier> earlier_of(const path::SafePath& target) const;

  const PosixSinkConfig& config_;
  TargetTree& tree_;
  Journal* journal_;
  std::vector<std::optional<path::SafePath>> landings_;
  struct RefusedDirectory {
    std::uint32_t root;
    std::string path;
  };
  std::optional<RefusedDirectory> refused_;  // the last one: nothing beneath it can land
  // Directories that this run has made, outermost first, down to the one that the last entry lies in: what lands right
  // in one of them finds nothing there.
  std::vector<std::string> made_;
};

/// Nanoseconds since 1970.
[[nodiscard]] std::int64_t mtime_ns_of(const struct stat& status);
/// What a link's Published record says of its source: a hash of the target's bytes.
[[nodiscard]] FileIdentity link_identity(const std::string& link_target);
/// Equal at the coarser of the two precisions (ns, us or s).
[[nodiscard]] bool same_mtime(std::int64_t a_ns, std::int64_t b_ns);
[[nodiscard]] timespec timespec_of(std::int64_t ns);

}  // namespace penstock::storage
