#include "dataplane/storage/file_calls.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

namespace penstock::storage {

namespace {
template <class T>
T or_errno(T result) {
  return result < 0 ? static_cast<T>(-errno) : result;
}
}  // namespace

FileCalls& FileCalls::kernel() {
  static FileCalls calls;
  return calls;
}

ssize_t FileCalls::pwrite(int fd, std::span<const std::byte> data, std::uint64_t offset) {
  return or_errno(::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset)));
}
ssize_t FileCalls::pread(int fd, std::span<std::byte> data, std::uint64_t offset) {
  return or_errno(::pread(fd, data.data(), data.size(), static_cast<off_t>(offset)));
}
int FileCalls::fdatasync(int fd) { return or_errno(::fdatasync(fd)); }
int FileCalls::fsync(int fd) { return or_errno(::fsync(fd)); }
int FileCalls::syncfs(int fd) { return or_errno(::syncfs(fd)); }
int FileCalls::fallocate(int fd, std::uint64_t offset, std::uint64_t length) {
  return or_errno(::fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(length)));
}
int FileCalls::ftruncate(int fd, std::uint64_t size) { return or_errno(::ftruncate(fd, static_cast<off_t>(size))); }

std::optional<FileCalls::Space> FileCalls::space_of(int fd) {
  struct statvfs space {};
  if (::fstatvfs(fd, &space) != 0 || space.f_blocks == 0) return std::nullopt;
  return Space{.free_bytes = std::uint64_t{space.f_bavail} * space.f_frsize,
               .total_bytes = std::uint64_t{space.f_blocks} * space.f_frsize};
}

}  // namespace penstock::storage
