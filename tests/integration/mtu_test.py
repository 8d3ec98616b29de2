"""Two network namespaces, a cable between them, and its MTU: large, small, over IPv4 and IPv6, with and without offloads.
Three, with a router whose links carry less than the hosts' own, and that never says so."""

import filecmp
import subprocess
import unittest

from hosts import HostsTest
from lab import PATIENCE, Outcome


class Mtu(HostsTest):
    def cable(self, mtu):
        pair = ["link", "add", "cable", "mtu", str(mtu), "type", "veth", "peer", "name", "cable", "mtu", str(mtu)]
        self.far.ip(*pair, "netns", str(self.near.holder.pid))
        for host, number in ((self.far, 1), (self.near, 2)):
            host.ip("address", "add", "10.77.0.%d/24" % number, "dev", "cable")
            host.ip("address", "add", "fd77::%d/64" % number, "dev", "cable", "nodad")
            host.ip("link", "set", "cable", "up")

    def carries(self, mtu, address, offload, said):
        config = self.write("penstockd.toml", b'udp_offload = "%s"\nworkers = 2\n' % offload.encode())
        where = self.serve_far(address, extra=("--config", config))
        self.write("home-ann/config.toml", b'[defaults]\nudp_offload = "%s"\n' % offload.encode())
        self.register_far(where)
        found = self.check(self.ann.json("ping", "-v", where, "--timeout", "2s"), 0).last
        self.assertTrue(found["udp"], found)
        self.assertEqual(found["path_mtu"], said)
        self.assertEqual("udp_segment" in found["fast_paths_there"], offload == "auto", found)
        file = self.random_file("blob", 5_000_003)
        pushed = self.check(self.push(file, where + ":/blob", "--mtu", str(mtu)), 0).last
        self.assertTrue(filecmp.cmp(file, self.served("blob"), shallow=False))
        # As few datagrams as this MTU allows, with some to spare for losses.
        self.assertLess(pushed["packets_sent"], 2 * 5_000_003 / (mtu - 100))
        self.check(self.pull(where + ":/blob", self.path("back"), "--mtu", str(mtu)), 0)
        self.assertTrue(filecmp.cmp(file, self.path("back"), shallow=False))

    def test_9000_bytes_over_ipv4(self):
        self.cable(9000)
        self.carries(9000, "10.77.0.1", "auto", said=9000)

    def test_9000_bytes_over_ipv6(self):
        self.cable(9000)
        self.carries(9000, "[fd77::1]", "auto", said=9000)

    def test_9000_bytes_without_offloads(self):
        self.cable(9000)
        self.carries(9000, "10.77.0.1", "off", said=9000)

    def test_1280_bytes_over_ipv4(self):
        self.cable(1280)
        self.carries(1280, "10.77.0.1", "auto", said=1280)

    def test_1280_bytes_over_ipv6(self):
        self.cable(1280)
        self.carries(1280, "[fd77::1]", "auto", said=1280)

    def test_1280_bytes_without_offloads(self):
        self.cable(1280)
        self.carries(1280, "[fd77::1]", "off", said=1280)

    def test_a_wildcard_daemon_takes_both_families_over_one_cable(self):
        self.cable(1500)
        self.serve_far("[::]", extra=("--workers", "3"))
        file = self.random_file("blob", 3_000_003)
        for number, address in enumerate(("10.77.0.1", "[fd77::1]")):
            where = "%s:%d" % (address, self.daemon.port)
            self.assertEqual(self.ann.register_at(where, self.daemon.token(user="u%d" % number)).exit, 0)
            self.check(self.push(file, "%s:/%d" % (where, number)), 0)
            self.assertTrue(filecmp.cmp(file, self.served(str(number)), shallow=False))


class BlackHole(HostsTest):
    """The hosts' interfaces say 1500; the router between them carries less, and its ICMP messages go nowhere."""

    def setUp(self):
        super().setUp()
        self.router = self.host()
        for host, name, number in ((self.near, "near", 1), (self.far, "far", 2)):
            self.router.ip("link", "add", name, "type", "veth", "peer", "name", "cable", "netns", str(host.holder.pid))
            self.router.ip("address", "add", "10.78.%d.1/24" % number, "dev", name)
            self.router.ip("link", "set", name, "up")
            host.ip("address", "add", "10.78.%d.2/24" % number, "dev", "cable")
            host.ip("link", "set", "cable", "up")
            # TCP's own search is not what is tested: its segments are small from the start.
            host.ip("route", "add", "10.78.0.0/16", "via", "10.78.%d.1" % number, "advmss", "1000")
        forwarding = ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]
        subprocess.run([*self.router.prefix, *forwarding], check=True, timeout=PATIENCE)
        # What the router itself would say.
        self.router.ip("rule", "add", "iif", "lo", "lookup", "77", "priority", "0")
        self.router.ip("route", "add", "blackhole", "default", "table", "77")

    def serve_behind(self):
        where = self.serve_far("10.78.2.2")
        self.register_far(where)
        return where

    def narrow(self, mtu):
        for name in ("near", "far"):
            self.router.ip("link", "set", name, "mtu", str(mtu))

    def test_a_black_hole_from_the_start_is_no_failure(self):
        self.narrow(1300)
        where = self.serve_behind()
        found = self.check(self.ann.json("ping", where, "--timeout", "5s"), 0).last
        self.assertTrue(found["udp"], found)
        self.assertLessEqual(found["path_mtu"], 1300)
        self.assertGreater(found["path_mtu"], 1300 - 8)
        file = self.random_file("blob", 20_000_003)
        pushed = self.check(self.push(file, where + ":/blob"), 0).last
        self.assertEqual(pushed["data"], "udp")
        self.assertTrue(filecmp.cmp(file, self.served("blob"), shallow=False))
        self.check(self.pull(where + ":/blob", self.path("back")), 0)
        self.assertTrue(filecmp.cmp(file, self.path("back"), shallow=False))

    def shrinks(self, *words, target):
        process = self.start_until_bytes_flow("20M", *words)
        self.narrow(1300)
        stdout, stderr = process.communicate(timeout=PATIENCE)
        done = self.check(Outcome(process, stdout, stderr), 0).last
        self.assertEqual(done["data"], "udp")
        self.assertTrue(filecmp.cmp(self.path("blob"), target, shallow=False))

    def test_a_path_that_shrinks_under_a_push_is_used_as_it_is(self):
        where = self.serve_behind()
        file = self.random_file("blob", 10_000_003)
        self.shrinks("push", file, where + ":/blob", target=self.served("blob"))

    def test_a_path_that_shrinks_under_a_pull_is_used_as_it_is(self):
        where = self.serve_behind()
        file = self.random_file("blob", 10_000_003)
        self.check(self.push(file, where + ":/blob"), 0)
        self.shrinks("pull", where + ":/blob", self.path("back"), target=self.path("back"))


if __name__ == "__main__":
    unittest.main()
