"""The client's address changes so that its control connection dies with the old one: it comes back from the new one, takes the
transfer up by its id, and no byte that is durable is sent again."""

import filecmp
import json
import select
import socket
import struct
import subprocess
import threading
import unittest

from data_way_support import Running
from hosts import HostsTest
from lab import LabTest, free_port
from udp_box import UdpBox

MB = 1_000_000


class Comeback:
    SIZE, MOVED = 24 * MB, 10 * MB

    def start_both(self, where, *options):
        """A push and a pull at one time, both with blocks that are durable."""
        self.sent = self.random_file("blob", self.SIZE)
        self.random_file(self.served("other"), self.SIZE)
        self.transfers = {}
        for command, ends in (("push", (self.sent, where + ":/blob")), ("pull", (where + ":/other", self.path("got")))):
            running = Running(self.ann.start(command, *ends, "--rate", "24M", *options, "--json"))
            self.addCleanup(lambda process=running.process: process.poll() is None and process.kill())
            self.transfers[command] = running
        for command, running in self.transfers.items():
            state = self.daemon.state if command == "push" else self.ann.home
            running.wait_for(lambda: running.moved(self.MOVED) and self.durable_blocks(state, 400), "durable blocks")
        for command, running in self.transfers.items():
            self.assertIsNone(running.process.poll(), "the %s was over before the other was half way" % command)

    def end_both(self, reattached):
        """`reattached`: by the transfer's id, in another session."""
        for running in self.transfers.values():
            outcome = self.check(running.end(), 0)
            done = outcome.last
            self.assertEqual((done["bytes"], done["bytes_sent"], done["bytes_resumed"]), (self.SIZE, self.SIZE, 0), outcome)
            sessions = [line for line in self.daemon.log_events("transfer_started") if line["transfer"] == done["transfer"]]
            if reattached:
                self.assertTrue(outcome.events("reconnecting"), outcome)
                self.assertGreater(len(sessions), 1)
            self.check(self.ann.json("receipt", "verify", done["receipt"]), 0)
        self.assertTrue(filecmp.cmp(self.sent, self.served("blob"), shallow=False))
        self.assertTrue(filecmp.cmp(self.served("other"), self.path("got"), shallow=False))

    def assert_no_durable_byte_again(self, carried):
        """`carried`: bytes that bulk took one way, of headers 6 % at most. Sent again is what was on its way, and what had
        arrived of blocks that were not complete. Were it all that had moved, it would be MOVED more."""
        print("%.1f MB carried of %.1f" % (carried / MB, self.SIZE / MB))
        self.assertGreater(carried, self.SIZE)
        self.assertLess(carried, self.SIZE * 1.06 + self.MOVED / 2)


class UdpNat(UdpBox):
    """Who forgets sends from another port; what comes to the old one is lost."""

    def __init__(self, target):
        super().__init__(target)
        self.bytes_up = self.bytes_down = 0
        self.forgotten = []
        self.forgetting = threading.Event()
        self.start()

    def forget(self):
        self.forgetting.set()

    def _carry(self, one, data, source):
        if self.forgetting.is_set():
            self.forgetting.clear()
            self.forgotten += self.flows.values()
            self.flows, self.clients = {}, {}
        if one is self.front or one in self.clients:
            super()._carry(one, data, source)

    def carries(self, client, up, data):
        if up:
            self.bytes_up += len(data)
        else:
            self.bytes_down += len(data)
        return True

    def close(self):
        super().close()
        for one in self.forgotten:
            one.close()


class TcpNat:
    """Between clients and the daemon's TCP port; who forgets resets. On a thread of its own, until closed."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.other_ends = {}
        self.forgetting = threading.Event()
        self.ended = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def forget(self):
        self.forgetting.set()

    def _run(self):
        while not self.ended:
            ready, _, _ = select.select([self.listener, *self.other_ends], [], [], 0.02)
            if self.forgetting.is_set():
                self.forgetting.clear()
                for one in self.other_ends:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._drop(*self.other_ends)
                continue
            for one in ready:
                if one is self.listener:
                    client, daemon = self.listener.accept()[0], socket.create_connection(self.target)
                    self.other_ends.update({client: daemon, daemon: client})
                elif one in self.other_ends:
                    self._carry(one)
        self._drop(*self.other_ends)
        self.listener.close()

    def _carry(self, one):
        try:
            data = one.recv(65536)
            self.other_ends[one].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(one, self.other_ends[one])

    def _drop(self, *sockets):
        for one in sockets:
            one.close()
            self.other_ends.pop(one, None)

    def close(self):
        self.ended = True
        self.thread.join()


class ResetByNat(Comeback, LabTest):
    """A NAT is started anew: connections are reset, and datagrams come from other ports."""

    with_daemon = False

    def setUp(self):
        super().setUp()
        port = free_port()
        self.udp, self.tcp = UdpNat(("127.0.0.1", port)), TcpNat(("127.0.0.1", port))
        self.addCleanup(self.udp.close)
        self.addCleanup(self.tcp.close)
        self.daemon = self.serve(
            listen="127.0.0.1:%d" % port, extra=("--udp-advertise", "127.0.0.1:%d" % self.udp.port, "--log-format", "json")
        )
        self.where = "127.0.0.1:%d" % self.tcp.port
        self.assertEqual(self.ann.register_at(self.where, self.daemon.token()).exit, 0)

    def test_both_directions_come_back_and_send_nothing_durable_again(self):
        self.start_both(self.where)
        self.udp.forget()
        self.tcp.forget()
        self.end_both(reattached=True)
        for carried in (self.udp.bytes_up, self.udp.bytes_down):
            self.assert_no_durable_byte_again(carried)


class NewAddress(Comeback, HostsTest):
    """The client's host has lost the address that its connection has, and got another one. Nobody says so to the daemon."""

    def setUp(self):
        super().setUp()
        self.far.ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(self.near.holder.pid))
        self.far.ip("address", "add", "10.79.0.1/24", "dev", "cable")
        self.near.ip("address", "add", "10.79.0.2/24", "dev", "cable")
        for host in (self.far, self.near):
            host.ip("link", "set", "cable", "up")
        self.where = self.serve_far("10.79.0.1", extra=("--log-format", "json"))
        self.register_far(self.where)

    def carried(self):
        """Bytes on the cable: from near to far, and back."""
        said = subprocess.run([*self.far.prefix, "ip", "-s", "-j", "link", "show", "cable"], capture_output=True, check=True)
        [cable] = json.loads(said.stdout)
        return cable["stats64"]["rx"]["bytes"], cable["stats64"]["tx"]["bytes"]

    def move(self):
        self.near.ip("address", "del", "10.79.0.2/24", "dev", "cable")
        self.near.ip("address", "add", "10.79.0.3/24", "dev", "cable")

    def test_by_tcp_data_both_directions_come_back_and_send_nothing_durable_again(self):
        self.start_both(self.where, "--data", "tcp")
        self.move()
        self.end_both(reattached=True)
        for carried in self.carried():
            self.assert_no_durable_byte_again(carried)

    def test_by_datagrams_the_session_lives_on_without_its_connection(self):
        self.start_both(self.where)
        self.move()
        self.end_both(reattached=False)
        for carried in self.carried():
            self.assert_no_durable_byte_again(carried)


if __name__ == "__main__":
    unittest.main()
