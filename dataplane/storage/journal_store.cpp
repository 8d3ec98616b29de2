#include "dataplane/storage/journal_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/path/beneath.h"
#include "common/path/safe_path.h"
#include "dataplane/storage/partial_sweep.h"

namespace penstock::storage {

namespace {

constexpr std::string_view suffix = ".journal";

std::string name_of(const TransferId& transfer) { return bytes::to_hex(transfer) + std::string{suffix}; }

struct OpenFile {
  UniqueFd fd;
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;
};

enum class Lock : std::uint8_t { exclusive, none };

/// nullopt: gone meanwhile, or not a file of ours. TRANSFER_ACTIVE: somebody has it open.
Result<std::optional<OpenFile>> open_journal(int directory, const std::string& name, Lock lock) {
  OpenFile file;
  file.fd = UniqueFd{::openat(directory, name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
  if (!file.fd) {
    if (errno == ENOENT) return std::optional<OpenFile>{};
    return error_from_errno(errno, "open the journal", name);
  }
  if (lock == Lock::exclusive && ::flock(file.fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error{ErrorCode::TRANSFER_ACTIVE, "this transfer is running already; wait until it ends, or cancel it"};
  }
  struct stat status {};
  if (::fstat(file.fd.get(), &status) != 0) return error_from_errno(errno, "examine the journal", name);
  // Unlinked between our open and our lock: its owner finished.
  if (!S_ISREG(status.st_mode) || status.st_nlink == 0) return std::optional<OpenFile>{};
  file.size = static_cast<std::uint64_t>(status.st_size);
  file.modified_ns = status.st_mtim.tv_sec * std::int64_t{1'000'000'000} + status.st_mtim.tv_nsec;
  return std::optional<OpenFile>{std::move(file)};
}

/// Whose a journal is; nullopt: no journal of this version, or torn before it says so.
Result<std::optional<TransferIdentity>> identity_of(JournalBytes journal) {
  JournalScanner scanner{std::move(journal)};
  auto first = scanner.next();
  if (!first) return std::move(first).error();
  if (!*first) return std::optional<TransferIdentity>{};
  return std::optional{std::get<TransferIdentity>(std::move((*first)->record))};
}

Result<std::vector<std::string>> journal_names(int directory) {
  const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return error_from_errno(errno, "list", "the journal directory");
  DIR* const stream = ::fdopendir(fd);
  if (stream == nullptr) {
    const int reason = errno;
    ::close(fd);
    return error_from_errno(reason, "list", "the journal directory");
  }
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name.size() == 32 + suffix.size() && name.ends_with(suffix)) names.emplace_back(name);
  }
  ::closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Result<std::unique_ptr<JournalStore>> JournalStore::open(const std::string& directory, FileCalls& calls) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return error_from_errno(errno, "create the journal directory", directory);
  }
  auto opened = path::open_trusted_directory(directory);
  if (!opened) return std::move(opened).error();
  return std::unique_ptr<JournalStore>{new JournalStore{std::move(*opened), calls}};
}

Result<std::unique_ptr<Journal>> JournalStore::create(const TransferIdentity& identity) {
  const std::string name = name_of(identity.transfer);
  UniqueFd file;
  while (true) {
    file = UniqueFd{::openat(directory_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!file) {
      if (errno == EEXIST) return Error{ErrorCode::FILE_EXISTS, "a transfer with this id exists already", name};
      return error_from_errno(errno, "create the journal", name);
    }
    // Before the lock is ours, find() may take the empty file for rubbish and unlink it: it holds the lock for no
    // longer than that takes, and then we begin again.
    while (::flock(file.get(), LOCK_EX) != 0) {
      if (errno != EINTR) return error_from_errno(errno, "lock the journal", name);
    }
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return error_from_errno(errno, "examine the journal", name);
    if (status.st_nlink > 0) break;
  }
  auto journal = std::unique_ptr<Journal>{
      new Journal{{.file = std::move(file)}, directory_.get(), name, JournalIndex{identity}, calls_}};
  const auto magic = bytes::as_bytes(journal_magic);
  journal->buffer_.assign(magic.begin(), magic.end());
  journal->append(identity);
  Status status = journal->write();
  if (status) status = journal->sync();
  if (const int result = status ? calls_.fsync(directory_.get()) : 0; result < 0) {
    status = error_from_errno(-result, "make durable", "the journal directory");
  }
  if (!status) {
    (void)journal->remove();
    return std::move(status).error();
  }
  return journal;
}

template <class Matches>
Result<std::unique_ptr<Journal>> JournalStore::find_matching(const std::string& name, Matches matches) {
  // Other owners' journals may be many and long: the head says whose each is.
  auto opened = open_journal(directory_.get(), name, Lock::none);
  if (!opened) return std::move(opened).error();
  if (!*opened) return std::unique_ptr<Journal>{};
  auto identity = identity_of(bytes_of_file((*opened)->fd.get(), name, calls_));
  if (!identity) return std::move(identity).error();
  // Of another version, or torn before it said whose it is: nothing in it can be relied on. While someone is about to
  // write its first record it is locked, and stays.
  if (!*identity) {
    if (::flock((*opened)->fd.get(), LOCK_EX | LOCK_NB) == 0) (void)::unlinkat(directory_.get(), name.c_str(), 0);
    return std::unique_ptr<Journal>{};
  }
  if (!matches(**identity)) return std::unique_ptr<Journal>{};

  // It is the one: lock it, and read what was written until the lock was ours.
  opened = open_journal(directory_.get(), name, Lock::exclusive);
  if (!opened) return std::move(opened).error();
  if (!*opened) return std::unique_ptr<Journal>{};
  const int fd = (*opened)->fd.get();
  auto index = JournalIndex::build(bytes_of_file(fd, name, calls_), directory_.get(), calls_);
  if (!index) return std::move(index).error();
  if (!*index) return std::unique_ptr<Journal>{};
  if ((*index)->finished()) {  // its owner ended between the last record and the unlink
    (void)::unlinkat(directory_.get(), name.c_str(), 0);
    return std::unique_ptr<Journal>{};
  }
  // The torn tail goes before anything is appended, or a later record could complete it by accident.
  const std::uint64_t valid = (*index)->valid_bytes();
  if (valid < (*opened)->size) {
    int result = calls_.ftruncate(fd, valid);
    if (result == 0) result = calls_.fsync(fd);
    if (result < 0) return error_from_errno(-result, "cut the torn end of the journal", name);
  }
  const std::uint64_t records = (*index)->records();
  return std::unique_ptr<Journal>{
      new Journal{{.file = std::move((*opened)->fd), .size = valid, .next_sequence = records},
                  directory_.get(),
                  name,
                  std::move(**index),
                  calls_}};
}

Result<std::unique_ptr<Journal>> JournalStore::find(const OwnerId& owner, const ResumeKey& resume_key) {
  auto names = journal_names(directory_.get());
  if (!names) return std::move(names).error();
  for (const auto& name : *names) {
    auto found = find_matching(name, [&](const TransferIdentity& identity) {
      return identity.owner == owner && identity.resume_key == resume_key;
    });
    if (!found || *found) return found;
  }
  return std::unique_ptr<Journal>{};
}

Result<std::unique_ptr<Journal>> JournalStore::find(const OwnerId& owner, const TransferId& transfer) {
  return find_matching(name_of(transfer), [&](const TransferIdentity& identity) { return identity.owner == owner; });
}

Result<std::vector<JournalSummary>> JournalStore::list() {
  auto names = journal_names(directory_.get());
  if (!names) return std::move(names).error();
  std::vector<JournalSummary> summaries;
  for (const auto& name : *names) {
    auto opened = open_journal(directory_.get(), name, Lock::none);
    if (!opened) return std::move(opened).error();
    if (!*opened) continue;
    auto index = JournalIndex::build(bytes_of_file((*opened)->fd.get(), name, calls_), directory_.get(), calls_);
    if (!index) return std::move(index).error();
    if (!*index) continue;
    JournalSummary summary{.identity = (*index)->identity(), .modified_ns = (*opened)->modified_ns};
    auto summed = (*index)->for_each_left([&](const std::string&, const JournalFile& file) {
      summary.partials += (file.partial ? 1 : 0) + file.intended.size();
      if (!file.partial) return;
      for (const auto& [block, digest] : file.durable) {
        summary.bytes_held += std::min(block_size, file.partial->size - block * block_size);
      }
    });
    if (!summed) return std::move(summed).error();
    summaries.push_back(std::move(summary));
  }
  return summaries;
}

Result<std::size_t> JournalStore::discard(const TransferId& transfer, const OpenBase& open_base) {
  return discard_named(name_of(transfer), open_base);
}

Result<std::size_t> JournalStore::discard_named(const std::string& name, const OpenBase& open_base) {
  auto opened = open_journal(directory_.get(), name, Lock::exclusive);
  if (!opened) return std::move(opened).error();
  if (!*opened) return std::size_t{0};
  std::size_t gone = 0;
  auto index = JournalIndex::build(bytes_of_file((*opened)->fd.get(), name, calls_), directory_.get(), calls_);
  if (!index) return std::move(index).error();
  if (*index) {
    if (const auto base = open_base((*index)->identity())) gone = sweep_partials(base->get(), **index);
  }
  if (::unlinkat(directory_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
    return error_from_errno(errno, "remove the journal", name);
  }
  return gone;
}

Result<std::size_t> JournalStore::expire(std::int64_t now_ns, std::chrono::seconds ttl, const OpenBase& open_base) {
  auto names = journal_names(directory_.get());
  if (!names) return std::move(names).error();
  std::size_t gone = 0;
  for (const auto& name : *names) {
    struct stat status {};
    if (::fstatat(directory_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    const std::int64_t age_s = now_ns / 1'000'000'000 - status.st_mtim.tv_sec;
    if (age_s < ttl.count()) continue;
    auto discarded = discard_named(name, open_base);
    if (discarded) gone += *discarded;  // in use, or unreadable now: the next round
  }
  return gone;
}

}  // namespace penstock::storage
