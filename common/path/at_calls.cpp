#include <fcntl.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>

#include "common/check.h"
#include "common/escape.h"
#include "common/path/beneath.h"

namespace penstock::path {
namespace {

Error exists_error(const Component& name) {
  return Error{.code = ErrorCode::FILE_EXISTS,
               .message = escape_for_display(name.text()) + " exists already; allow overwriting or choose another name",
               .path = name.text()};
}

Error at_error(int reason, std::string_view doing, const Component& name) {
  if (reason == EEXIST) return exists_error(name);
  if (reason == ELOOP) {
    return Error{.code = ErrorCode::PATH_REFUSED,
                 .message = escape_for_display(name.text()) + " is a symbolic link, and links are not followed",
                 .path = name.text()};
  }
  return error_from_errno(reason, doing, name.text());
}

Status status_of(int result, std::string_view doing, const Component& name) {
  if (result != 0) return at_error(errno, doing, name);
  return {};
}

}  // namespace

Result<UniqueFd> open_at(int dir_fd, const Component& name, int flags, mode_t mode) {
  for (;;) {
    UniqueFd fd{::openat(dir_fd, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode)};
    if (fd) return fd;
    if (errno != EINTR) return at_error(errno, "open", name);
  }
}

Result<UniqueFd> open_source_at(int dir_fd, const Component& name) {
  auto fd = open_at(dir_fd, name, O_RDONLY | O_NONBLOCK);
  if (!fd && fd.error().code != ErrorCode::IO_ERROR) return fd;
  struct stat status {};
  // A socket or a device without a driver does not even open (ENXIO); say what it is rather than how it failed.
  const int examined = fd ? ::fstat(fd->get(), &status) : ::fstatat(dir_fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW);
  if (examined != 0) return fd ? Result<UniqueFd>{at_error(errno, "examine", name)} : std::move(fd);
  if (S_ISREG(status.st_mode)) return fd;
  if (S_ISDIR(status.st_mode)) return at_error(EISDIR, "read", name);
  return Error{.code = ErrorCode::SPECIAL_FILE,
               .message = escape_for_display(name.text()) +
                          " is a device, socket or pipe; only files, directories and links are transferred",
               .path = name.text()};
}

Result<struct stat> stat_at(int dir_fd, const Component& name) {
  struct stat status {};
  if (::fstatat(dir_fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return at_error(errno, "examine", name);
  return status;
}

Status make_directory_at(int dir_fd, const Component& name, mode_t mode) {
  return status_of(::mkdirat(dir_fd, name.c_str(), mode), "create the directory", name);
}

Status unlink_at(int dir_fd, const Component& name) {
  return status_of(::unlinkat(dir_fd, name.c_str(), 0), "remove", name);
}

Status remove_directory_at(int dir_fd, const Component& name) {
  // POSIX lets a directory that is not empty answer EEXIST; that is no FILE_EXISTS here.
  if (::unlinkat(dir_fd, name.c_str(), AT_REMOVEDIR) == 0) return {};
  return error_from_errno(errno == EEXIST ? ENOTEMPTY : errno, "remove the directory", name.text());
}

Status symlink_at(const std::string& target, int dir_fd, const Component& name) {
  if (target.empty() || target.find('\0') != std::string::npos) {
    return Error{.code = ErrorCode::PATH_REFUSED,
                 .message = "the link " + escape_for_display(name.text()) + " has a target that no link can hold",
                 .path = name.text()};
  }
  return status_of(::symlinkat(target.c_str(), dir_fd, name.c_str()), "create the link", name);
}

Result<std::string> read_link_at(int dir_fd, const Component& name) {
  std::string target(PATH_MAX, '\0');  // the kernel makes no longer ones
  const ssize_t size = ::readlinkat(dir_fd, name.c_str(), target.data(), target.size());
  if (size < 0) return at_error(errno, "read the link", name);
  target.resize(static_cast<std::size_t>(size));
  return target;
}

Status rename_at(Place from, Place to, Replace replace) {
  const char* const source = from.name.c_str();
  const char* const target = to.name.c_str();
  if (replace == Replace::yes)
    return status_of(::renameat(from.dir_fd, source, to.dir_fd, target), "rename to", to.name);

  if (::syscall(SYS_renameat2, from.dir_fd, source, to.dir_fd, target, RENAME_NOREPLACE) == 0) return {};
  // EINVAL: this file system can not; ENOSYS: this kernel can not.
  if (errno != EINVAL && errno != ENOSYS) return at_error(errno, "rename to", to.name);
  return rename_by_link_at(from, to);
}

Status rename_by_link_at(Place from, Place to) {
  if (::linkat(from.dir_fd, from.name.c_str(), to.dir_fd, to.name.c_str(), 0) != 0)
    return at_error(errno, "rename to", to.name);
  return status_of(::unlinkat(from.dir_fd, from.name.c_str(), 0), "remove", from.name);
}

}  // namespace penstock::path
