#pragma once

#include <utility>
#include <vector>

#include "dataplane/io/receive_moderation.h"
#include "dataplane/io/receive_queue.h"
#include "dataplane/io/receive_share.h"
#include "dataplane/io/send_queue.h"
#include "dataplane/io/udp_socket.h"

namespace penstock::io {

class Lane;

/// One socket of a worker with what is on its way out of and into it. Does not move: the queues refer to the socket.
class Port {
 public:
  explicit Port(UdpSocket bound)
      : socket(std::move(bound)),
        out(socket),
        in(socket),
        moderation(socket.receive_buffer()),
        share(socket.receive_buffer() / 2) {}
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  UdpSocket socket;
  SendQueue out;
  ReceiveQueue in;
  ReceiveModeration moderation;
  ReceiveShare share;
  std::uint32_t watched = 0;   // what epoll tells of: something to read, room to write
  std::vector<Lane*> waiting;  // lanes with something to send that found `out` blocked
};

}  // namespace penstock::io
