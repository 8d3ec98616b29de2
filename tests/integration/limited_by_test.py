"""`limited_by` where the truth is known: one thing is made slow, and it is named, live, at the end and in the receipt."""

import json
import os
import subprocess
import unittest

from lab import LabTest, free_port, program

MB = 1_000_000
SLOW_CALLS = os.path.abspath(program("penstock-slow-calls.so"))


class LimitedBy(LabTest):
    """Everything but what a test makes slow moves far more than 20 MB/s here."""

    with_daemon = False

    def slowed(self, **slow):
        """Words in front of a program that make it so; see slow_calls.cpp."""
        return ["env", "LD_PRELOAD=" + SLOW_CALLS, *("%s=%d" % item for item in slow.items())]

    def begin(self, size, *, daemon=(), client=(), udp_through=None, settings=()):
        """A daemon and a client that know each other, and a file at either end."""
        extra = []
        if settings:
            extra = ["--config", self.path("penstockd.toml")]
            with open(self.path("penstockd.toml"), "w") as out:
                out.write("\n".join(settings) + "\n")
        port = free_port()
        if udp_through:
            _, outer = self.relay_to(port, *udp_through)
            extra += ["--udp-advertise", "127.0.0.1:%d" % outer]
        self.daemon = self.serve(listen="127.0.0.1:%d" % port, extra=extra, prefix=daemon)
        self.register(self.ann)
        self.ann.prefix = list(client)
        self.size = size
        self.here = self.random_file("blob", size)
        with open(self.served("blob"), "wb") as there:
            there.write(os.urandom(size))

    def assert_named(self, expected, done):
        done = self.check(done, 0)
        said = [line["limited_by"] for line in done.events("progress") if line["limited_by"]]
        self.assertEqual(done.last["limited_by"], expected, said)
        self.assertIn(expected, said)
        receipt = subprocess.run(
            [program("penstock"), "receipt", "show", done.last["transfer"], "--json"],
            env=self.ann.environment,
            capture_output=True,
            check=True,
        )
        shown = [json.loads(line) for line in receipt.stdout.splitlines()]
        self.assertIn(expected, [line.get("limited_by") for line in shown], shown)

    def assert_push(self, expected, *options):
        self.assert_named(expected, self.push(self.here, self.remote("/pushed"), *options))

    def assert_pull(self, expected, *options):
        self.assert_named(expected, self.pull(self.remote("/blob"), self.path("pulled"), *options))

    def test_a_slow_disk_of_the_source(self):
        slow = self.slowed(SLOW_READ=20 * MB)
        self.begin(40 * MB, client=slow)
        self.assert_push("source_disk")
        self.daemon.stop()
        self.begin(40 * MB, daemon=slow)
        self.assert_pull("source_disk")

    def test_a_slow_disk_of_the_target(self):
        # Far more than the slabs on the way there hold.
        slow = self.slowed(SLOW_WRITE=40 * MB)
        self.begin(160 * MB, daemon=slow)
        self.assert_push("target_disk")
        self.daemon.stop()
        self.begin(160 * MB, client=slow)
        self.assert_pull("target_disk")

    def test_a_slow_path(self):
        self.begin(15 * MB, udp_through=("--delay", "10ms", "--rate", "50mbit", "--queue", "1bdp"))
        self.assert_push("path")
        self.assert_pull("path")

    def test_a_slow_path_below_a_cap(self):
        self.begin(15 * MB, udp_through=("--delay", "10ms", "--rate", "50mbit", "--queue", "1bdp"))
        self.assert_push("path", "--rate", "1G")
        self.assert_pull("path", "--rate", "1G")

    # A rate that a busy machine keeps as well: two packets each 1.5 ms.
    def test_a_rate_that_the_user_gave(self):
        self.begin(4 * MB)
        self.assert_push("rate_cap", "--rate", "16M")
        self.assert_pull("rate_cap", "--rate", "16M")

    def test_a_rate_that_the_server_gave(self):
        self.begin(4 * MB, settings=('rate_cap = "16M"',))
        self.assert_push("server_cap")
        self.assert_pull("server_cap", "--rate", "1G")

    def test_a_receiver_that_allows_little(self):
        # Until it has answered for the first time it allows a MiB, and on a long and fast path that answer is what is waited for.
        self.begin(2 * MB, udp_through=("--delay", "900ms"))
        self.assert_push("receiver_credit", "--cc", "fixed", "--rate", "200M", "--data", "udp")
        self.assert_pull("receiver_credit", "--cc", "fixed", "--rate", "200M", "--data", "udp")

    def test_a_sender_without_a_processor(self):
        slow = self.slowed(SLOW_SEND=20 * MB)
        self.begin(40 * MB, client=slow)
        # bbr takes it for the path as often: README.
        self.assert_push("sender_cpu", "--cc", "cubic")
        self.daemon.stop()
        self.begin(40 * MB, daemon=slow)
        self.assert_pull("sender_cpu", "--cc", "cubic")

    def test_a_receiver_without_a_processor(self):
        slow = self.slowed(SLOW_RECEIVE=20 * MB)
        self.begin(60 * MB, daemon=slow)
        self.assert_push("receiver_cpu")
        self.daemon.stop()
        self.begin(60 * MB, client=slow)
        self.assert_pull("receiver_cpu")


if __name__ == "__main__":
    unittest.main()
