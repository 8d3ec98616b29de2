"""UDP of which nothing is heard: how soon `--data auto` leaves it, and that `--data udp` neither goes on for ever nor sends
for ever."""

import datetime
import os
import threading
import time
import unittest

from data_way_support import DataWay
from lab import sha256_file

RATE = "40M"


class Lateness:
    """How much later than due a thread of this machine runs, summed up over a time: what a starved machine adds to every
    wait of the programs too. In seconds; on a thread of its own."""

    TICK = 0.02

    def __init__(self):
        self.late = [(time.time(), 0.0)]  # when, and how late then
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        due = time.monotonic() + self.TICK
        while not self.ended.wait(max(0.0, due - time.monotonic())):
            now = time.monotonic()
            self.late.append((time.time(), max(0.0, now - due)))
            due = now + self.TICK

    def between(self, begin, end):
        return sum(late for at, late in self.late if begin <= at <= end)

    def close(self):
        self.ended.set()
        self.thread.join()


def told_at(line):
    """When a JSON line was written, as time.time() has it; to the millisecond, cut off."""
    return datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp()


class Auto(DataWay):
    def test_the_switch_comes_within_three_seconds_of_the_last_datagram(self):
        lateness = Lateness()
        self.addCleanup(lateness.close)
        source = self.random_file("file", 24_000_001)
        self.random_file(self.served("other"), 24_000_001)
        push = self.begin("push", source, self.remote("/file"), "--rate", RATE)
        pull = self.begin("pull", self.remote("/other"), self.path("got"), "--rate", RATE)
        for running in (push, pull):
            running.wait_for(lambda: running.moved(2_000_000), "some bytes moved")
        self.box.shut()
        for running in (push, pull):
            outcome = running.end()
            self.done(outcome, "mixed")
            self.told(outcome)
            switched = told_at(next(line for line in outcome.events("warning") if line["name"] == "UDP_BLOCKED"))
            took, late = switched - self.box.carried_at, lateness.between(self.box.carried_at, switched)
            print("%s: told %.2f s after the last datagram; threads ran %.2f s late" % (outcome.lines[0]["op"], took, late))
            self.assertGreater(took, 0)
            self.assertLess(took, 3.0 + late)
        self.assertEqual(sha256_file(source), sha256_file(self.served("file")))
        self.assertEqual(sha256_file(self.served("other")), sha256_file(self.path("got")))


class Udp(DataWay):
    """--data udp. Each case has a daemon and a box of its own, so that all of them wait at one time."""

    SIZE = 48_000_001
    # Which way datagrams pass once it is dark: towards the daemon, towards the client.
    CASES = {"push_up": (True, False), "push_none": (False, False), "pull_down": (False, True), "pull_none": (False, False)}

    def setUp(self):
        super().setUp()
        self.source = self.random_file("file", self.SIZE)
        self.daemons_of, self.boxes = {}, {}
        for name in self.CASES:
            port, self.boxes[name] = self.middlebox()
            advertised = "127.0.0.1:%d" % self.boxes[name].port
            self.daemons_of[name] = self.serve("-" + name, "127.0.0.1:%d" % port, ("--udp-advertise", advertised))
            self.register(self.ann, self.daemons_of[name])
            os.link(self.source, os.path.join(self.daemons_of[name].root, "other"))

    def start(self, name, *options):
        daemon = self.daemons_of[name]
        push = ("push", self.source, self.remote("/file", daemon))
        pull = ("pull", self.remote("/other", daemon), self.path("got-" + name))
        return self.begin(*(push if name.startswith("push") else pull), "--data", "udp", *options)

    def darken(self, name):
        box = self.boxes[name]
        box.up, box.down = self.CASES[name]
        return box.bytes_of_clients, box.bytes_of_daemon

    def sent_since(self, name, before):
        """Bytes of datagrams, of the client and of the daemon."""
        box = self.boxes[name]
        sent = box.bytes_of_clients - before[0], box.bytes_of_daemon - before[1]
        print("%s: %d bytes of the client, %d of the daemon" % (name, *sent))
        return sent

    def assert_unpublished(self, name):
        """And the daemon serves on."""
        self.assertFalse(os.path.exists(os.path.join(self.daemons_of[name].root, "file")))
        self.assertFalse(os.path.exists(self.path("got-" + name)))
        self.check(self.ann.json("ls", self.remote("/", self.daemons_of[name])), 0)

    def test_from_the_start_it_ends_as_blocked_and_sends_a_flight_and_probes(self):
        before = {name: self.darken(name) for name in self.CASES}
        cases = {name: self.start(name) for name in self.CASES}
        for name, running in cases.items():
            with self.subTest(case=name):
                self.check(running.end(), 3, "UDP_BLOCKED")
                self.assert_unpublished(name)
                # 64 packets, then two probes of full size each quarter of a second, and what asks for an answer.
                client, daemon = self.sent_since(name, before[name])
                self.assertLess(client, 500_000)
                # Who was not heard is not sent to.
                self.assertLess(daemon, 100_000)

    def test_midway_it_ends_at_the_time_out_and_sends_what_was_in_flight_and_probes(self):
        cases = {name: self.start(name, "--rate", RATE, "--timeout", "5s") for name in self.CASES}
        before = {}
        for name, running in cases.items():
            running.wait_for(lambda: running.moved(1_000_000), "some bytes moved")
            before[name] = self.darken(name)
        for name, running in cases.items():
            with self.subTest(case=name):
                outcome = self.check(running.end(), 9, "TIMED_OUT")
                self.assertIn("resume", outcome.last["message"])
                self.assert_unpublished(name)
                # At the rate that was asked for 5 s are 25 MB.
                self.assertLess(max(self.sent_since(name, before[name])), 1_000_000)


if __name__ == "__main__":
    unittest.main()
