#include "dataplane/storage/spill_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/bytes/give_back.h"
#include "common/bytes/hex.h"
#include "common/check.h"
#include "common/crypto/random.h"

namespace penstock::storage {

namespace {
// So much is kept in memory before there is a file: a few hundred names.
constexpr std::size_t memory_max = 32 * 1024;
}  // namespace

SpillFile::SpillFile(int directory, std::string_view what, FileCalls& calls)
    : directory_(directory), what_(what), calls_(&calls), space_(directory, what, calls) {}

void SpillFile::clear() {
  file_ = UniqueFd{};
  size_ = 0;
  bytes::give_back(memory_);
  space_.restart();
}

Status SpillFile::open() {
  int fd = ::openat(directory_, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) {
    // Not every file system has O_TMPFILE.
    const std::string name = ".spill-" + bytes::to_hex(crypto::random_array<16>());
    fd = ::openat(directory_, name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return error_from_errno(errno, "create in the state directory the file for this transfer's", what_);
    (void)::unlinkat(directory_, name.c_str(), 0);
  }
  file_ = UniqueFd{fd};
  Status written = write(memory_, 0);
  if (written) bytes::give_back(memory_);
  if (!written) file_ = UniqueFd{};
  return written;
}

Status SpillFile::append(std::span<const std::byte> bytes) {
  if (auto allowed = space_.allow(size_ + bytes.size()); !allowed) return allowed;
  if (!file_ && (directory_ < 0 || size_ + bytes.size() <= memory_max)) {
    memory_.insert(memory_.end(), bytes.begin(), bytes.end());
  } else {
    if (!file_) {
      if (auto opened = open(); !opened) return opened;
    }
    if (auto written = write(bytes, size_); !written) return written;
  }
  size_ += bytes.size();
  return {};
}

Status SpillFile::write(std::span<const std::byte> bytes, std::uint64_t at) {
  while (!bytes.empty()) {
    const auto written = calls_->pwrite(file_.get(), bytes, at);
    if (written == -EINTR) continue;
    if (written <= 0) {
      return error_from_errno(written < 0 ? static_cast<int>(-written) : EIO,
                              "write to the state directory this transfer's", what_);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    at += static_cast<std::uint64_t>(written);
  }
  return {};
}

Status SpillFile::read(std::uint64_t at, std::span<std::byte> into) const {
  PENSTOCK_CHECK(at <= size_ && into.size() <= size_ - at);
  if (!file_) {
    std::copy_n(memory_.begin() + static_cast<std::ptrdiff_t>(at), into.size(), into.begin());
    return {};
  }
  while (!into.empty()) {
    const auto got = calls_->pread(file_.get(), into, at);
    if (got == -EINTR) continue;
    if (got <= 0) {
      return error_from_errno(got < 0 ? static_cast<int>(-got) : EIO, "read from the state directory this transfer's",
                              what_);
    }
    into = into.subspan(static_cast<std::size_t>(got));
    at += static_cast<std::uint64_t>(got);
  }
  return {};
}

}  // namespace penstock::storage
