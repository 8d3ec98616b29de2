#include "common/path/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "common/check.h"
#include "common/escape.h"

namespace penstock::path {
namespace {

constexpr int races_max = 128;  // openat2 says EAGAIN while somebody renames beneath it; then try again, not for ever

int open_flags(DirectoryAccess access) {
  return (access == DirectoryAccess::search ? O_PATH : O_RDONLY) | O_DIRECTORY | O_CLOEXEC;
}

Error link_refused(std::string_view path) {
  return Error{.code = ErrorCode::PATH_REFUSED,
               .message = "a symbolic link stands in the way of " + escape_for_display(path) +
                          "; links are not followed, give the path that it points to",
               .path = std::string{path}};
}

Error open_error(int reason, const SafePath& below) {
  if (reason == ELOOP) return link_refused(below.text());
  return error_from_errno(reason, "open the directory", below.is_root() ? "/" : below.text());
}

/// A descriptor, or -1 and errno.
int openat2_directory(int dir_fd, const std::string& path, DirectoryAccess access) {
  open_how how{};
  how.flags = static_cast<decltype(how.flags)>(open_flags(access));
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
  for (int attempt = 0; attempt < races_max; ++attempt) {
    const long fd = ::syscall(SYS_openat2, dir_fd, path.c_str(), &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return static_cast<int>(fd);
  }
  errno = EAGAIN;
  return -1;
}

/// One component without openat2. O_NOFOLLOW makes a link fail; with O_DIRECTORY it does so as ENOTDIR, which is told
/// from a plain file here, so that both resolvers give the same error.
int walk_step(int dir_fd, const char* name, DirectoryAccess access) {
  const int fd = ::openat(dir_fd, name, open_flags(access) | O_NOFOLLOW);
  if (fd < 0 && errno == ENOTDIR) {
    struct stat status {};
    const bool is_link = ::fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode);
    errno = is_link ? ELOOP : ENOTDIR;
  }
  return fd;
}

/// Whether this process can call openat2 at all; asked once. Container filters say EPERM where old kernels say ENOSYS.
bool has_openat2() {
  static const bool usable = [] {
    const UniqueFd here{openat2_directory(AT_FDCWD, ".", DirectoryAccess::search)};
    return here || (errno != ENOSYS && errno != EPERM);
  }();
  return usable;
}

Result<UniqueFd> reopen_root(int root_fd, DirectoryAccess access) {
  // "." is the root itself; a new description, since the caller closes it and may list through it.
  UniqueFd fd{::openat(root_fd, ".", open_flags(access) | O_NOFOLLOW)};
  if (!fd) return open_error(errno, SafePath{});
  return fd;
}

/// Opens by openat2 in pieces that each fit PATH_MAX.
Result<UniqueFd> open_in_pieces(int root_fd, const SafePath& below, DirectoryAccess access) {
  const std::string& text = below.text();
  UniqueFd current;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.size();
    if (end - at >= PATH_MAX) {
      end = text.rfind('/', at + PATH_MAX - 1);  // a component is far shorter, so there is a slash in this piece
      PENSTOCK_CHECK(end != std::string::npos && end > at);
    }
    const int from = current ? current.get() : root_fd;
    const bool is_last = end == text.size();
    UniqueFd next{openat2_directory(from, text.substr(at, end - at), is_last ? access : DirectoryAccess::search)};
    if (!next) return open_error(errno, below);
    current = std::move(next);
    at = end + 1;
  }
  return current;
}

Result<UniqueFd> open_by_walking(int root_fd, const SafePath& below, DirectoryAccess access) {
  UniqueFd current;
  const auto components = below.components();
  for (std::size_t i = 0; i < components.size(); ++i) {
    const int from = current ? current.get() : root_fd;
    const bool is_last = i + 1 == components.size();
    UniqueFd next{walk_step(from, std::string{components[i]}.c_str(), is_last ? access : DirectoryAccess::search)};
    if (!next) return open_error(errno, below);
    current = std::move(next);
  }
  return current;
}

}  // namespace

Result<UniqueFd> open_directory_beneath(int root_fd, const SafePath& below, DirectoryAccess access, Resolver resolver) {
  if (below.is_root()) return reopen_root(root_fd, access);
  if (resolver == Resolver::automatic) resolver = has_openat2() ? Resolver::openat2 : Resolver::walk;
  return resolver == Resolver::openat2 ? open_in_pieces(root_fd, below, access)
                                       : open_by_walking(root_fd, below, access);
}

Result<UniqueFd> make_directories_beneath(int root_fd, const SafePath& below, mode_t mode, DirectoryAccess access,
                                          DirectoryCreationObserver* on_created, Resolver resolver) {
  auto existing = open_directory_beneath(root_fd, below, access, resolver);
  if (existing || existing.error().code != ErrorCode::NOT_FOUND) return existing;

  SafePath at;
  auto current = open_directory_beneath(root_fd, at, DirectoryAccess::search, resolver);
  if (!current) return current;
  for (const std::string_view part : below.components()) {
    const auto component = Component::parse(part);
    PENSTOCK_CHECK(component.ok());
    at = at.child(*component);
    const std::string& name = component->text();
    const bool is_last = at.text().size() == below.text().size();
    if (::mkdirat(current->get(), name.c_str(), mode) == 0) {
      if (on_created != nullptr) on_created->on_directory_created(at, current->get());
    } else if (errno != EEXIST) {
      return error_from_errno(errno, "create the directory", at.text());
    }
    // Somebody may have put a link there since; one step without following finds out.
    UniqueFd next{walk_step(current->get(), name.c_str(), is_last ? access : DirectoryAccess::search)};
    if (!next) return open_error(errno, at);
    *current = std::move(next);
  }
  return current;
}

Result<UniqueFd> open_trusted_directory(const std::string& path, DirectoryAccess access) {
  UniqueFd fd{::open(path.c_str(), open_flags(access))};
  if (!fd) return error_from_errno(errno, "open the directory", path);
  return fd;
}

bool same_file(int a, int b) {
  struct stat left {};
  struct stat right {};
  return ::fstat(a, &left) == 0 && ::fstat(b, &right) == 0 && left.st_dev == right.st_dev &&
         left.st_ino == right.st_ino;
}

}  // namespace penstock::path
