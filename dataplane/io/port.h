#pragma once

#include <utility>
#include <vector>

#include "dataplane/io/receive_queue.h"
#include "dataplane/io/send_queue.h"
#include "dataplane/io/udp_socket.h"

namespace penstock::io {

class Lane;

/// One socket of a worker with what is on its way out of and into it. Does not move: the queues refer to the socket.
class Port {
 public:
  explicit Port(UdpSocket bound) : socket(std::move(bound)), out(socket), in(socket) {}
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  UdpSocket socket;
  SendQueue out;
  ReceiveQueue in;
  bool watching_writable = false;  // epoll tells when `out` may be flushed again
  std::vector<Lane*> waiting;      // lanes with something to send that found `out` blocked
};

}  // namespace penstock::io
