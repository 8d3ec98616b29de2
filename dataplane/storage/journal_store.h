#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "dataplane/storage/file_calls.h"
#include "dataplane/storage/journal.h"

namespace penstock::storage {

inline constexpr std::chrono::hours partial_ttl_default{7 * 24};

/// What a directory of journals says of one of them.
struct JournalSummary {
  TransferIdentity identity;
  std::uint64_t bytes_held = 0;  // of partials: durable by the journal's word
  std::size_t partials = 0;
  std::int64_t modified_ns = 0;  // since 1970
};

/// The journals of one daemon or client: files `<transfer id in hex>.journal` in a directory of the state directory
/// (0600, directory 0700), never beside a target. A journal is locked (flock) by the process and handle that has it
/// open: a second writer gets TRANSFER_ACTIVE. Threads: any, one call at a time per journal.
class JournalStore {
 public:
  /// Opens or creates `directory`; a path of our own.
  [[nodiscard]] static Result<std::unique_ptr<JournalStore>> open(const std::string& directory,
                                                                  FileCalls& calls = FileCalls::kernel());

  /// Starts a journal for a new transfer. FILE_EXISTS if the id has one.
  [[nodiscard]] Result<std::unique_ptr<Journal>> create(const TransferIdentity& identity);
  /// Opens the unfinished transfer of this owner with this resume key, or nothing. TRANSFER_ACTIVE when it is open.
  /// A journal of unknown version, or one whose first record is torn, is no journal: it is removed.
  [[nodiscard]] Result<std::unique_ptr<Journal>> find(const OwnerId& owner, const ResumeKey& resume_key);
  /// The same by transfer id; valid only for its owner.
  [[nodiscard]] Result<std::unique_ptr<Journal>> find(const OwnerId& owner, const TransferId& transfer);
  [[nodiscard]] Result<std::vector<JournalSummary>> list();

  /// Opens the directory that a journal's paths are below, from what its owner wrote in identity.base.
  using OpenBase = std::function<Result<UniqueFd>(const TransferIdentity&)>;
  /// Ends an unfinished transfer: unlinks its partials beneath its base (only what is recorded there: device, inode,
  /// regular, one link), then the journal. Returns how many partials went.
  [[nodiscard]] Result<std::size_t> discard(const TransferId& transfer, const OpenBase& open_base);
  /// Discards every journal that nobody has open and that was not written for `ttl` before `now_ns`. Where the base
  /// does not open any more, the journal alone goes.
  [[nodiscard]] Result<std::size_t> expire(std::int64_t now_ns, std::chrono::seconds ttl, const OpenBase& open_base);

  [[nodiscard]] int directory() const { return directory_.get(); }

 private:
  template <class Matches>
  [[nodiscard]] Result<std::unique_ptr<Journal>> find_matching(const std::string& name, Matches matches);
  [[nodiscard]] Result<std::size_t> discard_named(const std::string& name, const OpenBase& open_base);

  JournalStore(UniqueFd directory, FileCalls& calls) : directory_(std::move(directory)), calls_(calls) {}
  UniqueFd directory_;
  FileCalls& calls_;
};

}  // namespace penstock::storage
