#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "common/result.h"
#include "dataplane/storage/journal.h"

namespace penstock::control {

/// What a push leaves in the client home while it runs: which transfer these words became. A client that is killed
/// after the daemon's commit finds by it the receipt that it never saw, where it would meet FILE_EXISTS otherwise.
/// One file a push, `pushes/RESUME-KEY` with the transfer's id in hex: written whole or not at all, durable, removed
/// once the user has been told. Threads: any; blocks. Several processes may share a home.
class PushNotes {
 public:
  struct Note {
    storage::TransferId transfer{};
    std::int64_t written_ns = 0;  // since 1970, by the file system's clock
  };

  static PushNotes of_home(const std::filesystem::path& home) { return PushNotes{home / "pushes"}; }

  /// nullopt when there is none, or none that can be read: a note is help, never a condition.
  [[nodiscard]] std::optional<Note> find(const storage::ResumeKey& key) const;
  /// Replaces what is there. Forgets the notes that nobody came back for in `partial_ttl_default`.
  Status write(const storage::ResumeKey& key, const storage::TransferId& transfer) const;
  void remove(const storage::ResumeKey& key) const;

 private:
  explicit PushNotes(std::filesystem::path directory) : directory_(std::move(directory)) {}
  [[nodiscard]] std::filesystem::path file_of(const storage::ResumeKey& key) const;
  void forget_old() const;
  std::filesystem::path directory_;
};

/// Whether nothing at or beneath `sources` has changed since `since_ns` (ctime, by the same clock as a note's time): no
/// file, no directory's list, no mode. False when in doubt. A source that is a link is followed, links beneath are not.
/// Cost: one walk.
[[nodiscard]] bool unchanged_since(std::span<const std::string> sources, std::int64_t since_ns);

}  // namespace penstock::control
