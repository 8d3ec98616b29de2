#include "control/registry/registry_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace penstock::control {

Result<UniqueFd> create_or_open(const std::filesystem::path& directory, const std::filesystem::path& file) {
  struct stat owner {};
  if (::stat(directory.c_str(), &owner) != 0) return error_from_errno(errno, "open", directory.string());
  UniqueFd fd{::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (fd) {
    if (::geteuid() == 0 && ::fchown(fd.get(), owner.st_uid, owner.st_gid) != 0)
      return error_from_errno(errno, "give away", file.string());
    return fd;
  }
  if (errno == EEXIST) fd.reset(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return error_from_errno(errno, "create", file.string());
  return fd;
}

Result<UniqueFd> lock_opening(const std::filesystem::path& directory) {
  const auto file = directory / "registry.lock";
  auto fd = create_or_open(directory, file);
  if (!fd) return fd;
  while (::flock(fd->get(), LOCK_EX) != 0)
    if (errno != EINTR) return error_from_errno(errno, "lock", file.string());
  return fd;
}

}  // namespace penstock::control
