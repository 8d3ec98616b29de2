#include "common/unique_fd.h"

#include <unistd.h>

namespace penstock {

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);  // Linux frees the number even on EINTR, so this is never repeated
  fd_ = fd;
}

}  // namespace penstock
