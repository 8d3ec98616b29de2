"""A process that is stopped for seconds in the middle of a push and a pull goes on as if nothing had been."""

import signal
import time
import unittest

from data_way_support import Running
from lab import LabTest, sha256_file

STOPPED = 4  # seconds: nearly what is called silence


class Suspended(LabTest):
    SIZE, RATE = 20_000_003, "40M"

    def transfers_midway(self):
        """A push and a pull at one time."""
        self.source = self.random_file("file", self.SIZE)
        self.random_file(self.served("other"), self.SIZE)
        words = {"push": (self.source, self.remote("/file")), "pull": (self.remote("/other"), self.path("got"))}
        transfers = []
        for command, ends in words.items():
            running = Running(self.ann.start(command, *ends, "--rate", self.RATE, "--json"))
            self.addCleanup(lambda process=running.process: process.poll() is None and process.kill())
            transfers.append(running)
        for running in transfers:
            running.wait_for(lambda running=running: running.moved(5_000_000), "some bytes moved")
        return transfers

    def suspend(self, *processes):
        """Here time itself is what is tested."""
        for process in processes:
            self.assertIsNone(process.poll())
            process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED)
        for process in processes:
            process.send_signal(signal.SIGCONT)

    def end_well(self, transfers):
        for running in transfers:
            done = self.check(running.end(), 0).last
            self.assertEqual((done["files"], done["bytes"], done["bytes_sent"]), (1, self.SIZE, self.SIZE))
            self.check(self.ann.json("receipt", "verify", done["receipt"]), 0)
        self.assertEqual(sha256_file(self.source), sha256_file(self.served("file")))
        self.assertEqual(sha256_file(self.served("other")), sha256_file(self.path("got")))
        self.nothing_half_written(self.served())

    def test_a_stopped_client_goes_on_when_it_may(self):
        transfers = self.transfers_midway()
        self.suspend(*(running.process for running in transfers))
        self.end_well(transfers)

    def test_a_stopped_daemon_goes_on_when_it_may(self):
        transfers = self.transfers_midway()
        self.suspend(self.daemon.process)
        self.end_well(transfers)


if __name__ == "__main__":
    unittest.main()
