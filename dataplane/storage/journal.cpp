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

Journal::Journal(UniqueFd file, int directory, std::string name, JournalState state, std::uint64_t size,
                 FileCalls& calls)
    : file_(std::move(file)),
      directory_(directory),
      name_(std::move(name)),
      state_(std::move(state)),
      size_(size),
      next_sequence_(state_.records),
      calls_(calls) {}

Journal::~Journal() = default;

void Journal::append(const JournalRecord& record) {
  const auto encoded = encode_journal_record(next_sequence_++, record);
  buffer_.insert(buffer_.end(), encoded.begin(), encoded.end());
  if (buffer_.size() >= buffer_size_max) (void)write();  // an error is kept, and told by the write that follows
}

Status Journal::write() {
  if (failed_) return *failed_;
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
  size_ += done;
  buffer_.clear();
  return {};
}

Status Journal::sync() {
  if (const int result = calls_.fdatasync(file_.get()); result < 0) {
    return error_from_errno(-result, "make the journal durable:", name_);
  }
  return {};
}

Status Journal::remove() {
  if (::unlinkat(directory_, name_.c_str(), 0) != 0 && errno != ENOENT) {
    return error_from_errno(errno, "remove the journal", name_);
  }
  return {};
}

}  // namespace penstock::storage
