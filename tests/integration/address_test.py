"""The client's UDP address changes under a transfer: a NAT that forgets, and a host that moves. The control connection stays, the
datagrams go on, and no byte takes another way."""

import filecmp
import unittest

from hosts import HostsTest
from lab import PATIENCE, LabTest, Outcome, free_port


class Moves:
    def start_by_udp(self, *words):
        """By UDP alone: on a machine that keeps all of us from running for 1.5 s, bytes that may go by TCP rightly do. How soon a
        new address is found is a matter of virtual time (tests/sim/address_test.cpp)."""
        return self.start_until_bytes_flow("30M", *words, "--data", "udp")

    def end(self, process, sent, target):
        stdout, stderr = process.communicate(timeout=PATIENCE)
        done = self.check(Outcome(process, stdout, stderr), 0).last
        self.assertEqual(done["data"], "udp")
        self.assertEqual(done["bytes_resumed"], 0)
        self.assertTrue(filecmp.cmp(sent, target, shallow=False))


class Nat(Moves, LabTest):
    """A relay stands for it: clients reach the daemon's UDP through it alone."""

    with_daemon = False

    def setUp(self):
        super().setUp()
        inner = free_port()
        _, outer = self.relay_to(inner, "--delay", "20ms", *("--rebind=%dms" % at for at in (700, 2100, 3300)))
        self.daemon = self.serve(listen="127.0.0.1:%d" % inner, extra=("--udp-advertise", "127.0.0.1:%d" % outer))
        self.addCleanup(self.daemon.kill)
        self.register(self.ann)

    def test_a_push_goes_on_when_a_nat_forgets(self):
        file = self.random_file("blob", 20_000_003)
        self.end(self.start_by_udp("push", file, self.remote("/blob")), file, self.served("blob"))

    def test_a_pull_goes_on_when_a_nat_forgets(self):
        file = self.random_file("blob", 20_000_003)
        with open(file, "rb") as source:
            self.write(self.served("blob"), source.read())
        self.end(self.start_by_udp("pull", self.remote("/blob"), self.path("back")), file, self.path("back"))


class Roaming(Moves, HostsTest):
    """The client's host has two addresses; the route says which one new datagrams leave from."""

    def setUp(self):
        super().setUp()
        self.far.ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(self.near.holder.pid))
        self.far.ip("address", "add", "10.79.0.1/24", "dev", "cable")
        for number in (2, 3):
            self.near.ip("address", "add", "10.79.0.%d/24" % number, "dev", "cable")
        for host in (self.far, self.near):
            host.ip("link", "set", "cable", "up")
        self.where = self.serve_far("10.79.0.1")
        self.register_far(self.where)

    def move(self):
        self.near.ip("route", "replace", "10.79.0.0/24", "dev", "cable", "proto", "kernel", "scope", "link", "src", "10.79.0.3")

    def test_a_push_goes_on_from_another_address(self):
        file = self.random_file("blob", 15_000_003)
        process = self.start_by_udp("push", file, self.where + ":/blob")
        self.move()
        self.end(process, file, self.served("blob"))

    def test_a_pull_goes_on_to_another_address(self):
        file = self.random_file("blob", 15_000_003)
        self.check(self.push(file, self.where + ":/blob"), 0)
        process = self.start_by_udp("pull", self.where + ":/blob", self.path("back"))
        self.move()
        # The old address is dead for datagrams: who still sends there is not heard.
        self.near.ip("rule", "add", "from", "10.79.0.1", "to", "10.79.0.2", "ipproto", "udp", "blackhole", "priority", "0")
        self.end(process, file, self.path("back"))


if __name__ == "__main__":
    unittest.main()
