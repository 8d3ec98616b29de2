"""Two network namespaces, a cable between them, and its MTU: large, small, over IPv4 and IPv6, with and without offloads."""

import filecmp
import subprocess
import unittest

from lab import PATIENCE, LabTest


def why_impossible():
    try:
        tried = subprocess.run(["unshare", "--net", "ip", "link", "show", "lo"], capture_output=True, text=True)
    except FileNotFoundError as error:
        return "no way to make namespaces: %s" % error
    return "" if tried.returncode == 0 else "no network namespaces here: " + tried.stderr.strip()


class Host:
    """A network namespace, held by a process that ends with its standard input."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up; echo ready; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.holder.stdout.readline() == b"ready\n"
        self.prefix = ["nsenter", "--net=/proc/%d/ns/net" % self.holder.pid, "--"]

    def ip(self, *words):
        subprocess.run([*self.prefix, "ip", *words], check=True, timeout=PATIENCE)

    def close(self):
        self.holder.stdin.close()
        self.holder.stdout.close()
        self.holder.wait()


class Mtu(LabTest):
    with_daemon = False

    def setUp(self):
        if why := why_impossible():
            self.skipTest(why)
        super().setUp()
        self.far, self.near = Host(), Host()
        self.addCleanup(self.far.close)
        self.addCleanup(self.near.close)

    def cable(self, mtu):
        pair = ["link", "add", "cable", "mtu", str(mtu), "type", "veth", "peer", "name", "cable", "mtu", str(mtu)]
        self.far.ip(*pair, "netns", str(self.near.holder.pid))
        for host, number in ((self.far, 1), (self.near, 2)):
            host.ip("address", "add", "10.77.0.%d/24" % number, "dev", "cable")
            host.ip("address", "add", "fd77::%d/64" % number, "dev", "cable", "nodad")
            host.ip("link", "set", "cable", "up")

    def carries(self, mtu, address, offload, said):
        config = self.write("penstockd.toml", b'udp_offload = "%s"\nworkers = 2\n' % offload.encode())
        self.daemon = self.serve(listen=address + ":0", extra=("--config", config), prefix=self.far.prefix)
        self.addCleanup(self.daemon.kill)
        self.ann.prefix = self.near.prefix
        self.write("home-ann/config.toml", b'[defaults]\nudp_offload = "%s"\n' % offload.encode())
        where = "%s:%d" % (address, self.daemon.port)
        self.assertEqual(self.ann.register_at(where, self.daemon.token()).exit, 0)
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
        self.carries(9000, "10.77.0.1", "auto", said=1500)

    def test_9000_bytes_over_ipv6(self):
        self.cable(9000)
        self.carries(9000, "[fd77::1]", "auto", said=1500)

    def test_9000_bytes_without_offloads(self):
        self.cable(9000)
        self.carries(9000, "10.77.0.1", "off", said=1500)

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
        self.daemon = self.serve(listen="[::]:0", extra=("--workers", "3"), prefix=self.far.prefix)
        self.ann.prefix = self.near.prefix
        file = self.random_file("blob", 3_000_003)
        for number, address in enumerate(("10.77.0.1", "[fd77::1]")):
            where = "%s:%d" % (address, self.daemon.port)
            self.assertEqual(self.ann.register_at(where, self.daemon.token(user="u%d" % number)).exit, 0)
            self.check(self.push(file, "%s:/%d" % (where, number)), 0)
            self.assertTrue(filecmp.cmp(file, self.served(str(number)), shallow=False))


if __name__ == "__main__":
    unittest.main()
