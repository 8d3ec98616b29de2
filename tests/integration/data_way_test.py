"""UDP that does not get through from the start, one way alone, or is not wanted. The bytes go by TCP, and every manner
of the command stays as it is."""

import os
import random
import unittest

from data_way_support import DataWay
from lab import sha256_file, wait_until


class Blocked(DataWay):
    """From the start."""

    def test_a_push_goes_by_tcp_and_says_so(self):
        self.box.shut()
        source = self.random_file("file", 20_000_003)
        outcome = self.push(source, self.remote("/file"))
        self.done(outcome, "tcp")
        self.told(outcome)
        self.assertEqual(sha256_file(source), sha256_file(self.served("file")))
        wait_until(lambda: self.daemon.log_events("data_way"), "the daemon's word on it")
        [turn] = self.daemon.log_events("data_way")
        self.assertEqual(turn["data"], "tcp")

    def test_a_pull_goes_by_tcp_and_says_so(self):
        self.box.shut()
        self.random_file(self.served("file"), 20_000_003)
        outcome = self.pull(self.remote("/file"), self.path("got"))
        self.done(outcome, "tcp")
        self.told(outcome)
        self.assertEqual(sha256_file(self.served("file")), sha256_file(self.path("got")))

    def test_a_path_that_carries_small_datagrams_alone_is_left_as_soon(self):
        self.box.largest = 1000
        source = self.random_file("file", 20_000_003)
        outcome = self.push(source, self.remote("/file"))
        self.done(outcome, "tcp")
        self.told(outcome)
        [warning] = {line["message"] for line in outcome.events("warning") if line["name"] == "UDP_BLOCKED"}
        self.assertIn("no answer", warning)  # and not that it loses much, which takes longer to find out
        self.assertEqual(sha256_file(source), sha256_file(self.served("file")))

    def test_one_direction_alone_is_enough(self):
        source = self.random_file("file", 3_000_001)
        self.random_file(self.served("other"), 3_000_001)
        for number, (up, down) in enumerate(((True, False), (False, True))):
            self.box.up, self.box.down = up, down
            here, there = self.path("got%d" % number), "file%d" % number
            push = self.begin("push", source, self.remote("/" + there))
            pull = self.begin("pull", self.remote("/other"), here)
            self.done(push.end(), self.expected_word(up, push=True))
            self.done(pull.end(), self.expected_word(down, push=False))
            self.assertEqual(sha256_file(source), sha256_file(self.served(there)))
            self.assertEqual(sha256_file(self.served("other")), sha256_file(here))

    @staticmethod
    def expected_word(bulk_gets_through, push):
        # A flight of datagrams gets through before their sender hears that nobody answers. On pull nobody's does: the
        # daemon sends nothing to who it has not heard.
        return "mixed" if bulk_gets_through and push else "tcp"

    def test_a_tree_of_small_files_and_links_arrives_as_by_udp(self):
        self.box.shut()
        luck = random.Random(5)
        for number in range(300):
            self.write("tree/%d/%d" % (number % 7, number), luck.randbytes(luck.randrange(20_000)))
        os.makedirs(self.path("tree/empty"))
        os.symlink("0/0", self.path("tree/link"))
        self.done(self.push(self.path("tree"), self.remote("/tree")), "tcp")
        self.assert_equal_trees(self.path("tree"), self.served("tree"))
        self.done(self.pull(self.remote("/tree"), self.path("back"), "--digest", "sha256"), "tcp")
        self.assert_equal_trees(self.path("tree"), self.path("back"))

    def test_udp_alone_still_ends_with_udp_blocked(self):
        self.box.shut()
        source = self.random_file("file", 100_000)
        self.random_file(self.served("other"), 100_000)
        push = self.begin("push", source, self.remote("/file"), "--data", "udp")
        pull = self.begin("pull", self.remote("/other"), self.path("got"), "--data", "udp")
        self.check(push.end(), 3, "UDP_BLOCKED")
        self.check(pull.end(), 3, "UDP_BLOCKED")

    def test_ping_says_that_udp_does_not_get_through(self):
        self.box.shut()
        for_scripts = self.begin("ping", self.daemon.address)
        for_people = self.ann.run("ping", self.daemon.address)
        outcome = self.check(for_scripts.end(), 0)
        self.assertIs(outcome.last["udp"], False)
        self.assertIn("no answer", for_people.stdout.decode())


class Asked(DataWay):
    """--data tcp."""

    def test_no_datagram_is_ever_sent(self):
        source = self.random_file("file", 5_000_001)
        outcome = self.push(source, self.remote("/file"), "--data", "tcp")
        self.done(outcome, "tcp")
        self.assertEqual(outcome.events("warning"), [])
        self.assertEqual(sha256_file(source), sha256_file(self.served("file")))
        self.done(self.pull(self.remote("/file"), self.path("got"), "--data", "tcp"), "tcp")
        self.assertEqual(sha256_file(source), sha256_file(self.path("got")))
        self.assertEqual(self.box.came, 0)

    def test_an_empty_file_and_what_is_there_already_need_no_way_at_all(self):
        self.write("empty")
        self.done(self.push(self.path("empty"), self.remote("/empty"), "--data", "tcp"), "tcp")
        outcome = self.push(self.path("empty"), self.remote("/empty"), "--data", "tcp", "--overwrite", "skip")
        self.assertEqual(outcome.last["files_skipped"], 1, outcome)
        self.check(self.push(self.path("empty"), self.remote("/other"), "--data", "tcp", "-n"), 0)

    def test_lanes_share_the_connection(self):
        daemon = self.daemon
        daemon.stop()
        self.daemon = self.start_daemon("--workers", "3")
        source = self.random_file("file", 30_000_001)
        self.done(self.push(source, self.remote("/file"), "--data", "tcp", "--lanes", "3"), "tcp")
        self.assertEqual(sha256_file(source), sha256_file(self.served("file")))
        self.done(self.pull(self.remote("/file"), self.path("got"), "--data", "tcp", "--lanes", "3"), "tcp")
        self.assertEqual(sha256_file(source), sha256_file(self.path("got")))
        self.assertEqual(self.box.came, 0)


if __name__ == "__main__":
    unittest.main()
