"""UDP that gets through no more midway, for a while, or only a little; kills and signals while the bytes go by TCP. None
goes twice that need not."""

import signal
import unittest

from data_way_support import DataWay
from lab import sha256_file, wait_until


class Midway(DataWay):
    size, rate = 24_000_001, "40M"

    def long(self):
        """So much that blocks become durable long before the end."""
        self.size, self.rate = 200_000_001, "160M"

    def push_until(self, moved, *options):
        self.source = self.random_file("file", self.size)
        running = self.begin("push", self.source, self.remote("/file"), "--rate", self.rate, *options)
        running.wait_for(lambda: running.moved(moved), "some bytes moved")
        return running

    def pull_until(self, moved, *options):
        self.random_file(self.served("file"), self.size)
        running = self.begin("pull", self.remote("/file"), self.path("got"), "--rate", self.rate, *options)
        running.wait_for(lambda: running.moved(moved), "some bytes moved")
        return running

    def test_udp_that_dies_and_stays_dead_costs_no_byte_that_was_there(self):
        running = self.push_until(8_000_000)
        self.box.shut()
        outcome = running.end()
        last = self.done(outcome, "mixed")
        self.told(outcome)
        self.assertEqual(sha256_file(self.source), sha256_file(self.served("file")))
        # Nothing is sent again but what the box has dropped, and what was lost without it: sockets overflow, ours and the
        # box's, where nobody runs. 8 MB were there, and none of them is in the box's count.
        self.assertLess(last["bytes_retransmitted"], self.box.bytes_dropped + 1_000_000)

    def test_on_pull_too(self):
        running = self.pull_until(8_000_000)
        self.box.shut()
        outcome = running.end()
        last = self.done(outcome, "mixed")
        self.told(outcome)
        self.assertEqual(sha256_file(self.served("file")), sha256_file(self.path("got")))
        self.assertLess(last["bytes_retransmitted"], self.box.bytes_dropped + 1_000_000)

    def test_with_lanes_no_lane_is_given_up_for_it(self):
        self.daemon.stop()
        self.daemon = self.start_daemon("--workers", "3")
        running = self.push_until(4_000_000, "--lanes", "3")
        self.box.shut()
        outcome = running.end()
        self.done(outcome, "mixed")
        self.told(outcome)
        self.assertEqual(sha256_file(self.source), sha256_file(self.served("file")))

    def test_a_policer_of_udp_makes_tcp_be_tried_and_kept(self):
        running = self.push_until(8_000_000)
        self.box.rate = 100_000  # bytes a second
        running.wait_for(lambda: running.way() == "tcp", "TCP being tried")
        outcome = running.end()
        self.done(outcome, "mixed")
        self.told(outcome)
        self.assertEqual(sha256_file(self.source), sha256_file(self.served("file")))

    def test_udp_that_comes_back_is_taken_back(self):
        self.size = 48_000_000
        self.source = self.random_file("file", self.size)
        running = self.begin("push", self.source, self.remote("/file"), "--rate", "8M")
        running.wait_for(lambda: running.moved(1_000_000), "some bytes moved")
        self.box.shut()
        running.wait_for(lambda: running.way() == "tcp", "the switch to TCP")
        self.box.open()
        running.wait_for(lambda: running.way() == "udp", "the return to UDP")
        outcome = running.end()
        self.done(outcome, "mixed")
        self.told(outcome)
        [back] = outcome.events("data")
        self.assertEqual(back["data"], "udp")
        self.assertIn(back["message"], outcome.stderr)
        wait_until(lambda: len(self.daemon.log_events("data_way")) > 1, "the daemon's words on it")
        self.assertEqual([line["data"] for line in self.daemon.log_events("data_way")], ["tcp", "udp"])
        self.assertEqual(sha256_file(self.source), sha256_file(self.served("file")))

    def in_the_dark(self, running):
        self.box.shut()
        running.wait_for(lambda: running.way() == "tcp", "the switch to TCP")
        here = running.progress()[-1]["bytes"]
        running.wait_for(lambda: running.moved(here + 8_000_000), "bytes moved by TCP")

    def test_a_killed_client_resumes(self):
        self.long()
        running = self.push_until(2_000_000)
        self.in_the_dark(running)
        running.wait_for(lambda: self.durable_blocks(self.daemon.state), "durable blocks")
        running.process.kill()
        running.end()
        last = self.done(self.push(self.source, self.remote("/file")), "tcp")
        self.assertGreater(last["bytes_resumed"], 0)
        self.assertEqual(sha256_file(self.source), sha256_file(self.served("file")))
        self.nothing_half_written(self.daemon.root)

    def test_a_killed_client_resumes_a_pull(self):
        self.long()
        running = self.pull_until(2_000_000)
        self.in_the_dark(running)
        running.wait_for(lambda: self.durable_blocks(self.ann.home), "durable blocks")
        running.process.kill()
        running.end()
        last = self.done(self.pull(self.remote("/file"), self.path("got")), "tcp")
        self.assertGreater(last["bytes_resumed"], 0)
        self.assertEqual(sha256_file(self.served("file")), sha256_file(self.path("got")))

    def test_a_killed_daemon_that_comes_back_is_gone_on_with(self):
        self.long()
        running = self.push_until(2_000_000)
        self.in_the_dark(running)
        running.wait_for(lambda: self.durable_blocks(self.daemon.state), "durable blocks")
        self.daemon.kill()
        self.daemon = self.start_daemon()
        outcome = running.end()
        self.done(outcome, "mixed")
        self.assertEqual(len([line for line in outcome.events("warning") if line["name"] == "UDP_BLOCKED"]), 1, outcome)
        self.assertEqual(sha256_file(self.source), sha256_file(self.served("file")))

    def test_a_signal_ends_it_and_the_same_command_goes_on(self):
        self.long()
        running = self.push_until(2_000_000)
        self.in_the_dark(running)
        running.process.send_signal(signal.SIGINT)
        outcome = running.end()
        self.assertEqual(outcome.exit, 130, outcome)
        self.assertEqual(outcome.error, "INTERRUPTED")
        last = self.done(self.push(self.source, self.remote("/file"), "--data", "tcp"), "tcp")
        self.assertGreater(last["bytes_resumed"], 0)
        self.assertEqual(sha256_file(self.source), sha256_file(self.served("file")))


if __name__ == "__main__":
    unittest.main()
