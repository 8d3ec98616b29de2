#include "dataplane/storage/journal.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/check.h"

namespace penstock::storage {

namespace {
// Appended records go to the kernel at the latest when so many bytes wait.
constexpr std::size_t buffer_size_max = 1024 * 1024;
}  // namespace

Journal::Journal(Opened opened, int directory, std::string name, JournalIndex earlier, FileCalls& calls)
    : file_(std::move(opened.file)),
      directory_(directory),
      name_(std::move(name)),
      earlier_(std::move(earlier)),
      size_(opened.size),
      next_sequence_(opened.next_sequence),
      worth_keeping_(earlier_.has_files()),
      calls_(calls),
      space_(directory, "journal", calls) {}

Journal::~Journal() = default;

void Journal::append(const JournalRecord& record) {
  if (failed_) return;  // the write that follows says so
  if (const auto* const intended = std::get_if<PartialIntended>(&record)) {
    worth_keeping_ = worth_keeping_ || intended->partial_name.empty();  // the landing directory is ours
  } else if (!std::holds_alternative<PartialDropped>(record) && !std::holds_alternative<TransferIdentity>(record)) {
    worth_keeping_ = true;
  }
  append_journal_record(buffer_, next_sequence_++, record);
  if (buffer_.size() >= buffer_size_max) (void)write();  // an error is kept, and told by the write that follows
}

Status Journal::write() {
  if (!failed_ && sync_failed_) failed_ = error_from_errno(EIO, "go on with the journal", name_);
  if (failed_) return *failed_;
  if (auto allowed = space_.allow(size_ + buffer_.size()); !allowed) {
    failed_ = std::move(allowed).error();
    return *failed_;
  }
  std::size_t done = 0;
  while (done < buffer_.size()) {
    const auto written = calls_.pwrite(file_.get(), std::span{buffer_}.subspan(done), size_ + done);
    if (written == -EINTR) continue;
    if (written <= 0) {
      // What did get written is a torn tail for the next run to cut.
      failed_ = error_from_errno(written < 0 ? static_cast<int>(-written) : EIO, "write the journal", name_);
      return *failed_;
    }
    done += static_cast<std::size_t>(written);
  }
  if (done > 0) unsynced_ = true;
  size_ += done;
  buffer_.clear();
  return {};
}

Status Journal::sync() {
  if (sync_failed_) return error_from_errno(EIO, "make the journal durable:", name_);
  if (!unsynced_.exchange(false)) return {};
  if (const int result = calls_.fdatasync(file_.get()); result < 0) {
    sync_failed_ = true;
    return error_from_errno(-result, "make the journal durable:", name_);
  }
  return {};
}

Status Journal::finish() {
  if (leftovers_) return {};
  append(Finished{});
  // Should the file survive in spite of its last record, the next look at it removes it.
  (void)write();
  return remove();
}

Result<bool> Journal::has_published(std::uint64_t device, std::uint64_t inode) const {
  JournalScanner scanner{bytes_of_file(file_.get(), name_, calls_)};
  while (true) {
    auto found = scanner.next();
    if (!found) return std::move(found).error();
    if (!*found) return false;
    const auto* const published = std::get_if<Published>(&(*found)->record);
    if (published != nullptr && published->device == device && published->inode == inode) return true;
  }
}

JournalBytes bytes_of_file(int file, std::string name, FileCalls& calls) {
  return [file, name = std::move(name), &calls](std::uint64_t at, std::span<std::byte> into) -> Result<std::size_t> {
    std::size_t done = 0;
    while (done < into.size()) {
      const auto got = calls.pread(file, into.subspan(done), at + done);
      if (got == -EINTR) continue;
      if (got < 0) return error_from_errno(static_cast<int>(-got), "read the journal", name);
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  };
}

Status Journal::remove() {
  if (::unlinkat(directory_, name_.c_str(), 0) != 0 && errno != ENOENT) {
    return error_from_errno(errno, "remove the journal", name_);
  }
  return {};
}

}  // namespace penstock::storage
