"""Sizes around every boundary, both ways. What takes long runs with PENSTOCK_LONG=1 alone."""

import os
import subprocess
import time
import unittest

from lab import LabTest, sha256_file, wait_until

GIB = 1 << 30
long_run = unittest.skipUnless(os.environ.get("PENSTOCK_LONG") == "1", "takes long: PENSTOCK_LONG=1 runs it")


class Sizes(LabTest):
    def islands(self, name, size, count=8, length=3_000_000):
        """A sparse file with random islands, its first and last bytes among them."""
        full = self.path(name)
        with open(full, "wb") as out:
            out.truncate(size)
            for number in range(count):
                out.seek((size - length) * number // (count - 1))
                out.write(os.urandom(length))
        return full

    def both_ways(self, file, name):
        size = os.stat(file).st_size
        done = self.check(self.push(file, self.remote("/" + name)), 0).last
        self.assertEqual((done["files"], done["bytes"]), (1, size))
        self.same(file, self.served(name))
        done = self.check(self.pull(self.remote("/" + name), self.path("back-" + name)), 0).last
        self.assertEqual((done["files"], done["bytes"]), (1, size))
        self.same(file, self.path("back-" + name))

    def same(self, a, b):
        self.assertEqual(os.stat(a).st_mtime_ns, os.stat(b).st_mtime_ns)
        self.assertEqual(subprocess.run(["cmp", a, b], capture_output=True).stdout, b"")

    def test_small_sizes_alone_and_both_ways(self):
        for size in (0, 1, 1024, 8191, 8192, 8193, 1048575, 1048576, 1048577):
            with self.subTest(size=size):
                self.both_ways(self.random_file("s%d" % size, size), "s%d" % size)

    def test_a_hundred_megabytes_both_ways(self):
        self.both_ways(self.random_file("hundred", 100_000_000), "hundred")

    @long_run
    def test_around_two_gibibytes_both_ways(self):
        for size in (2 * GIB - 1, 2 * GIB, 2 * GIB + 1):
            with self.subTest(size=size):
                name = "s%d" % size
                self.both_ways(self.islands(name, size), name)
                for copy in (self.path(name), self.path("back-" + name), self.served(name)):
                    os.unlink(copy)

    @long_run
    def test_five_gibibytes_resume_and_bytes_flow_again_within_three_seconds(self):
        file = self.islands("five", 5 * GIB, count=40, length=10_000_000)
        ways = {
            "push": (("push", file, self.remote("/five")), self.daemon.state, self.served("five")),
            "pull": (("pull", self.remote("/five"), self.path("back")), self.ann.home, self.path("back")),
        }
        for way, (words, journals, copy) in ways.items():
            with self.subTest(way=way):
                process = self.ann.start(*words, "--rate", "400M")
                wait_until(lambda: self.durable_blocks(journals), "durable blocks")
                process.kill()
                process.communicate()
                before = self.journal_bytes(journals)
                begun = time.monotonic()
                again = self.ann.start(*words, "--rate", "400M", "--json")
                # More became durable. The requirement is a time, and only a clock can see it kept.
                wait_until(lambda: self.journal_bytes(journals) > before or again.poll() is not None, "new blocks")
                flowing = time.monotonic() - begun
                self.assertIsNone(again.poll())
                stdout, stderr = again.communicate(timeout=120)
                self.assertEqual(again.returncode, 0, stderr)
                print("%s: new blocks durable %.2f s after the same command was started again" % (way, flowing))
                self.assertLess(flowing, 3.0)
                self.assertRegex(stdout.splitlines()[-1].decode(), r'"bytes_resumed":[1-9]')
                self.assertEqual(sha256_file(file), sha256_file(copy))

    @staticmethod
    def journal_bytes(state):
        place = os.path.join(state, "journals")
        return sum(os.stat(os.path.join(place, name)).st_size for name in os.listdir(place) if name.endswith(".journal"))


if __name__ == "__main__":
    unittest.main()
