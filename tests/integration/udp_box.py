"""A box in user space between clients and the daemon's UDP port, for tests that say which datagrams it carries."""

import select
import threading

from lab import udp_socket


class UdpBox:
    """Each client socket gets one of its own on the way on, so every lane is a flow. On a thread of its own, until closed;
    who inherits says in `carries` what passes, and calls `start` when that can be asked."""

    def __init__(self, target):
        self.target = target
        self.front = udp_socket()
        self.port = self.front.getsockname()[1]
        self.flows = {}  # client address -> socket towards the daemon
        self.clients = {}  # that socket -> client address
        self.ended = False
        self.thread = threading.Thread(target=self._run)

    def start(self):
        self.thread.start()

    def carries(self, client, up, data):
        """Whether this datagram from (`up`) or to this client passes."""
        raise NotImplementedError

    def _run(self):
        while not self.ended:
            ready, _, _ = select.select([self.front, *self.flows.values()], [], [], 0.1)
            for one in ready:
                for _ in range(64):
                    try:
                        data, source = one.recvfrom(65535)
                    except (BlockingIOError, ConnectionRefusedError):
                        break
                    self._carry(one, data, source)

    def _carry(self, one, data, source):
        up = one is self.front
        client = source if up else self.clients[one]
        if client not in self.flows:
            self.flows[client] = udp_socket()
            self.clients[self.flows[client]] = client
        if not self.carries(client, up, data):
            return
        if up:
            self.flows[client].sendto(data, self.target)
        else:
            self.front.sendto(data, client)

    def close(self):
        self.ended = True
        self.thread.join()
        for one in (self.front, *self.flows.values()):
            one.close()
