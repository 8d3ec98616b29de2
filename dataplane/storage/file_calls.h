#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace penstock::storage {

/// The system calls through which the sink and the journal change files: injectable, so that tests can bring ENOSPC,
/// EIO and failing syncs at will. The base class is the kernel. Each returns 0 or a count, or -errno. Threads: any.
class FileCalls {
 public:
  virtual ~FileCalls() = default;
  /// The kernel; static lifetime.
  static FileCalls& kernel();

  virtual ssize_t pwrite(int fd, std::span<const std::byte> data, std::uint64_t offset);
  virtual ssize_t pread(int fd, std::span<std::byte> data, std::uint64_t offset);
  virtual int fdatasync(int fd);
  virtual int fsync(int fd);
  virtual int syncfs(int fd);
  virtual int fallocate(int fd, std::uint64_t offset, std::uint64_t length);  // keeps the size
  virtual int ftruncate(int fd, std::uint64_t size);
  struct Space {
    std::uint64_t free_bytes = 0;  // for us
    std::uint64_t total_bytes = 0;
  };
  /// Of the file system that `fd` is on; nullopt: it does not say.
  virtual std::optional<Space> space_of(int fd);
};

}  // namespace penstock::storage
