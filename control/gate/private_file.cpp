#include "control/gate/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/bytes/hex.h"
#include "common/crypto/random.h"
#include "common/unique_fd.h"

namespace penstock::control {
namespace {

constexpr off_t file_size_max = 16 * 1024 * 1024;

Error unusable(const std::filesystem::path& file, std::string_view reason) {
  return {ErrorCode::CONFIG_INVALID, "cannot use " + file.string() + ": " + std::string{reason}, file.string()};
}

Status write_all(int fd, std::span<const std::byte> contents, const std::string& name) {
  while (!contents.empty()) {
    const ssize_t written = ::write(fd, contents.data(), contents.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return error_from_errno(errno, "write", name);
    }
    contents = contents.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

Result<crypto::SecretBytes> read_private_file(const std::filesystem::path& file, Secrecy secrecy) {
  const UniqueFd fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!fd) {
    if (errno == ENOENT) return error_from_errno(errno, "open", file.string());
    if (errno == EACCES) return unusable(file, "permission denied; let the account that this runs as read it");
    return unusable(file, std::strerror(errno));
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return unusable(file, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return unusable(file, "it is not a regular file");
  if (info.st_size > file_size_max) return unusable(file, "it is too large to be ours");
  const mode_t forbidden = secrecy == Secrecy::none ? 0 : secrecy == Secrecy::group ? 007 : 077;
  if ((info.st_mode & forbidden) != 0)
    return unusable(file, "others may read it; chmod 600 it, or make a new key if they have");

  crypto::SecretBytes contents{static_cast<std::size_t>(info.st_size)};
  std::size_t got = 0;
  while (got < contents.size()) {
    const ssize_t n = ::read(fd.get(), contents.writable().data() + got, contents.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return unusable(file, std::strerror(errno));
    if (n == 0) return unusable(file, "it became shorter while it was read");
    got += static_cast<std::size_t>(n);
  }
  return contents;
}

Status write_private_file(const std::filesystem::path& file, std::span<const std::byte> contents, Existing existing) {
  auto directory = file.parent_path();
  if (directory.empty()) directory = ".";
  const UniqueFd parent{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!parent) return error_from_errno(errno, "open", directory.string());
  struct stat owner {};
  if (::fstat(parent.get(), &owner) != 0) return error_from_errno(errno, "examine", directory.string());

  const std::string name = file.filename().string();
  const std::string temporary = "." + name + "." + bytes::to_hex(crypto::random_array<8>());
  UniqueFd fd{::openat(parent.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!fd) return error_from_errno(errno, "create", file.string());
  const auto write_and_publish = [&]() -> Status {
    if (::geteuid() == 0 && ::fchown(fd.get(), owner.st_uid, owner.st_gid) != 0)
      return error_from_errno(errno, "give away", file.string());
    if (auto written = write_all(fd.get(), contents, file.string()); !written) return written;
    if (::fsync(fd.get()) != 0) return error_from_errno(errno, "sync", file.string());
    if (existing == Existing::replace) {
      if (::renameat(parent.get(), temporary.c_str(), parent.get(), name.c_str()) != 0)
        return error_from_errno(errno, "replace", file.string());
    } else {
      // A link, not a rename: it fails where a file exists, and of two processes at once one wins.
      if (::linkat(parent.get(), temporary.c_str(), parent.get(), name.c_str(), 0) != 0) {
        if (errno == EEXIST) return Error{ErrorCode::FILE_EXISTS, file.string() + " exists already", file.string()};
        return error_from_errno(errno, "create", file.string());
      }
      ::unlinkat(parent.get(), temporary.c_str(), 0);
    }
    if (::fsync(parent.get()) != 0) return error_from_errno(errno, "sync", directory.string());
    return {};
  };
  auto done = write_and_publish();
  if (!done) ::unlinkat(parent.get(), temporary.c_str(), 0);
  return done;
}

}  // namespace penstock::control
