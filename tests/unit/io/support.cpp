#include "tests/unit/io/support.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>

namespace penstock::io {

int ScriptedCalls::send(int fd, mmsghdr* messages, unsigned count) {
  if (segmented(messages[0])) ++segmented_messages;
  if (on_send) {
    if (const int error = on_send(messages[0]); error != 0) {
      errno = error;
      return -1;
    }
  }
  return kernel().send(fd, messages, std::min(count, messages_max));
}

bool ScriptedCalls::segmented(const mmsghdr& message) {
  auto header = message.msg_hdr;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr; control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_SEGMENT) return true;
  }
  return false;
}

}  // namespace penstock::io
