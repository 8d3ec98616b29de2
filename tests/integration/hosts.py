"""Hosts of their own in this one: network namespaces, with cables between them."""

import subprocess

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


class HostsTest(LabTest):
    """The daemon serves on one host, `far`, and ann is on another, `near`; between them is what the test lays."""

    with_daemon = False

    def setUp(self):
        if why := why_impossible():
            self.skipTest(why)
        super().setUp()
        self.far, self.near = self.host(), self.host()

    def host(self):
        made = Host()
        self.addCleanup(made.close)
        return made

    def serve_far(self, address, extra=()):
        """Starts the daemon there, and lets ann's commands run on her own host."""
        self.daemon = self.serve(listen=address + ":0", extra=extra, prefix=self.far.prefix)
        self.addCleanup(self.daemon.kill)
        self.ann.prefix = self.near.prefix
        return "%s:%d" % (address, self.daemon.port)

    def register_far(self, where):
        self.assertEqual(self.ann.register_at(where, self.daemon.token()).exit, 0)
