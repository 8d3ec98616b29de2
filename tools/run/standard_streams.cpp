#include "tools/run/standard_streams.h"

#include <fcntl.h>

#include <cerrno>

#include "common/check.h"

namespace penstock::tools {

void ensure_standard_streams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest free number is this one, since those below are open. Without O_CLOEXEC, as all standard streams.
    PENSTOCK_CHECK(::open("/dev/null", O_RDWR) == fd);
  }
}

}  // namespace penstock::tools
