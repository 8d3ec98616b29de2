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
constexpr std::uint64_t journal_size_max = std::uint64_t{4} << 30;

std::string name_of(const TransferId& transfer) { return bytes::to_hex(transfer) + std::string{suffix}; }

struct OpenFile {
  UniqueFd fd;
  std::vector<std::byte> bytes;
  std::int64_t modified_ns = 0;
};

enum class Lock : std::uint8_t { exclusive, none };
enum class Extent : std::uint8_t { head, whole };
// The identity record fits: magic, then one record of at most this size.
constexpr std::uint64_t journal_head_size = journal_magic.size() + journal_record_size_max;
constexpr std::uint64_t head_size_typical = 4096;

/// nullopt: gone meanwhile, or not a file of ours. TRANSFER_ACTIVE: somebody has it open.
Result<std::optional<OpenFile>> read_journal(int directory, const std::string& name, Lock lock,
                                             Extent extent = Extent::whole) {
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
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > journal_size_max) return error_from_errno(EFBIG, "read the journal", name);
  file.modified_ns = status.st_mtim.tv_sec * std::int64_t{1'000'000'000} + status.st_mtim.tv_nsec;
  std::uint64_t wanted = size;
  if (extent == Extent::head) {
    std::array<std::byte, journal_magic.size() + 4> prefix{};
    wanted = std::min(size, head_size_typical);
    if (::pread(file.fd.get(), prefix.data(), prefix.size(), 0) == static_cast<ssize_t>(prefix.size())) {
      std::uint64_t body = 0;
      for (std::size_t i = journal_magic.size(); i < prefix.size(); ++i)
        body = body << 8 | std::to_integer<unsigned>(prefix[i]);
      if (body < journal_record_size_max) wanted = std::max(wanted, journal_magic.size() + 64 + body);
    }
    wanted = std::min({size, wanted, journal_head_size});
  }
  file.bytes.resize(wanted);
  std::size_t done = 0;
  while (done < file.bytes.size()) {
    const auto got =
        ::pread(file.fd.get(), file.bytes.data() + done, file.bytes.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error_from_errno(errno, "read the journal", name);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  file.bytes.resize(done);
  return std::optional<OpenFile>{std::move(file)};
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
  JournalState state;
  state.identity = identity;
  auto journal =
      std::unique_ptr<Journal>{new Journal{std::move(file), directory_.get(), name, std::move(state), 0, calls_}};
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
  auto read = read_journal(directory_.get(), name, Lock::none, Extent::head);
  if (!read) return std::move(read).error();
  if (!*read) return std::unique_ptr<Journal>{};
  auto replay = replay_journal((*read)->bytes);
  // Of another version, or torn before it said whose it is: nothing in it can be relied on. While someone is about to
  // write its first record it is locked, and stays.
  if (!replay) {
    if (::flock((*read)->fd.get(), LOCK_EX | LOCK_NB) == 0) (void)::unlinkat(directory_.get(), name.c_str(), 0);
    return std::unique_ptr<Journal>{};
  }
  if (!matches(replay->state.identity)) return std::unique_ptr<Journal>{};

  // It is the one: lock it, and read again what was written until the lock was ours.
  read = read_journal(directory_.get(), name, Lock::exclusive);
  if (!read) return std::move(read).error();
  if (!*read) return std::unique_ptr<Journal>{};
  replay = replay_journal((*read)->bytes);
  if (!replay) return std::unique_ptr<Journal>{};
  if (replay->state.finished) {  // its owner ended between the last record and the unlink
    (void)::unlinkat(directory_.get(), name.c_str(), 0);
    return std::unique_ptr<Journal>{};
  }
  // The torn tail goes before anything is appended, or a later record could complete it by accident.
  if (replay->valid_bytes < (*read)->bytes.size()) {
    int result = calls_.ftruncate((*read)->fd.get(), replay->valid_bytes);
    if (result == 0) result = calls_.fsync((*read)->fd.get());
    if (result < 0) return error_from_errno(-result, "cut the torn end of the journal", name);
  }
  return std::unique_ptr<Journal>{new Journal{std::move((*read)->fd), directory_.get(), name, std::move(replay->state),
                                              replay->valid_bytes, calls_}};
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
    auto read = read_journal(directory_.get(), name, Lock::none);
    if (!read) return std::move(read).error();
    if (!*read) continue;
    const auto replay = replay_journal((*read)->bytes);
    if (!replay) continue;
    JournalSummary summary{.identity = replay->state.identity, .modified_ns = (*read)->modified_ns};
    for (const auto& [path, file] : replay->state.files) {
      summary.partials += (file.partial ? 1 : 0) + file.intended.size();
      if (!file.partial) continue;
      for (const auto& [block, digest] : file.durable) {
        summary.bytes_held += std::min(block_size, file.partial->size - block * block_size);
      }
    }
    summaries.push_back(std::move(summary));
  }
  return summaries;
}

Result<std::size_t> JournalStore::discard(const TransferId& transfer, const OpenBase& open_base) {
  return discard_named(name_of(transfer), open_base);
}

Result<std::size_t> JournalStore::discard_named(const std::string& name, const OpenBase& open_base) {
  auto read = read_journal(directory_.get(), name, Lock::exclusive);
  if (!read) return std::move(read).error();
  if (!*read) return std::size_t{0};
  std::size_t gone = 0;
  if (const auto replay = replay_journal((*read)->bytes)) {
    if (const auto base = open_base(replay->state.identity)) gone = sweep_partials(base->get(), replay->state);
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
