#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "control/transfer/side_host.h"
#include "dataplane/storage/manifest_entry.h"
#include "dataplane/storage/verdict.h"

namespace penstock::control {

/// When to say something about an entry.
enum class EntryNewsWanted : std::uint8_t {
  nothing,    // an ordinary transfer
  as_done,    // -v: what is skipped when that is decided, all else when it is complete
  decisions,  // --dry-run: all, as soon as it is decided
};

/// Tells the host what becomes of files and links, each once; directories are a means and are never told of. One owner
/// of this for both roles. Bound: what is listed and not decided, and the links until the commit.
/// Threads: its side's.
class EntryNews {
 public:
  /// `host` is borrowed for the life of this.
  EntryNews(EntryNewsWanted wanted, SideHost& host) : wanted_(wanted), host_(host) {}

  /// The next entry of the manifest.
  void on_listed(std::uint64_t index, const storage::ManifestEntry& entry);
  /// Every entry from the last such call up to `decided` is to be sent, except as listed; those of `replaces` take the
  /// place of something. Requires: all of them were listed, `exceptions` ascend.
  void on_decided(std::uint64_t decided, std::span<const storage::Verdict> exceptions,
                  std::span<const std::uint64_t> replaces);
  /// A file is complete under its name.
  void on_file_finished(const storage::FileReport& report);
  /// Links are made with the commit, and told of then; but not those that were left out.
  void on_committed(const std::set<std::uint64_t>& left_out);

 private:
  struct Listed {
    storage::FileReport report;
    storage::FileType type = storage::FileType::regular;
  };
  void tell(const Listed& listed, EntryOutcome outcome) { host_.on_entry(listed.report, listed.type, outcome); }
  [[nodiscard]] EntryOutcome outcome_of(std::uint64_t index) const {
    return replaces_.contains(index) ? EntryOutcome::replaced : EntryOutcome::finished;
  }

  const EntryNewsWanted wanted_;
  SideHost& host_;
  std::uint64_t decided_ = 0;
  std::vector<Listed> listed_;  // from `decided_` on
  std::vector<Listed> links_;   // wanted, not made yet
  std::set<std::uint64_t> replaces_;
};

}  // namespace penstock::control
