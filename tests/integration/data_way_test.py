"""UDP that does not get through: from the start, one way alone, midway, for a while, or only a little. The bytes go by
TCP, none twice that need not, and every manner of the command stays as it is."""

import json
import os
import random
import select
import signal
import threading
import time
import unittest

from lab import LabTest, Outcome, free_port, sha256_file, udp_socket, wait_until


class Middlebox:
    """Between clients and the daemon's UDP port. Each direction can be shut; towards the daemon, datagrams beyond `rate`
    bytes a second are dropped, as a policer does."""

    def __init__(self, target):
        self.target = target
        self.front = udp_socket()
        self.port = self.front.getsockname()[1]
        self.flows = {}  # client address -> socket towards the daemon
        self.clients = {}  # that socket -> client address
        self.up = self.down = True
        self.rate = None
        self.tokens, self.filled_at = 0, time.monotonic()
        self.came = 0  # datagrams of clients, dropped ones included
        self.ended = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def shut(self):
        self.up = self.down = False

    def open(self):
        self.up = self.down = True

    def _policed(self, size):
        if self.rate is None:
            return False
        now = time.monotonic()
        self.tokens = min(self.rate / 20, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < size:
            return True
        self.tokens -= size
        return False

    def _run(self):
        while not self.ended:
            ready, _, _ = select.select([self.front, *self.flows.values()], [], [], 0.1)
            for one in ready:
                for _ in range(64):
                    try:
                        data, source = one.recvfrom(65535)
                    except (BlockingIOError, ConnectionRefusedError):
                        break
                    self._carry(one, data, source)

    def _carry(self, one, data, source):
        if one is not self.front:
            if self.down:
                self.front.sendto(data, self.clients[one])
            return
        self.came += 1
        if source not in self.flows:
            made = udp_socket()
            self.clients[made] = source
            self.flows[source] = made
        if self.up and not self._policed(len(data)):
            self.flows[source].sendto(data, self.target)

    def close(self):
        self.ended = True
        self.thread.join()
        for one in (self.front, *self.flows.values()):
            one.close()


class Running:
    """A command under way, whose JSON lines are read as they come."""

    def __init__(self, process):
        self.process = process
        self.raw, self.lines, self.errors = [], [], []
        self.readers = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        for raw in self.process.stdout:
            self.raw.append(raw)
            if raw.startswith(b"{"):
                self.lines.append(json.loads(raw))

    def _read_errors(self):
        for raw in self.process.stderr:
            self.errors.append(raw)

    def progress(self):
        return [line for line in self.lines if line["event"] == "progress"]

    def moved(self, size):
        return any(line["bytes"] >= size for line in self.progress())

    def way(self):
        return self.progress()[-1]["data"] if self.progress() else None

    def wait_for(self, condition, what):
        wait_until(lambda: condition() or self.process.poll() is not None, what)
        if not condition():
            raise AssertionError("it ended before %s: %r" % (what, self.end()))

    def end(self):
        self.process.wait(timeout=120)
        for reader in self.readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return Outcome(self.process, b"".join(self.raw), b"".join(self.errors))


class DataWay(LabTest):
    with_daemon = False

    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.box = Middlebox(("127.0.0.1", self.port))
        self.addCleanup(self.box.close)
        self.daemon = self.start_daemon()
        self.register(self.ann)

    def start_daemon(self, *extra):
        return self.serve(
            listen="127.0.0.1:%d" % self.port,
            extra=("--udp-advertise", "127.0.0.1:%d" % self.box.port, "--log-format", "json", *extra),
        )

    def begin(self, *words):
        running = Running(self.ann.start(*words, "--json"))
        self.addCleanup(lambda: running.process.poll() is None and running.process.kill())
        return running

    def told(self, outcome):
        """The user was told, once a line, that UDP did not get through."""
        warnings = [line for line in outcome.events("warning") if line["name"] == "UDP_BLOCKED"]
        self.assertTrue(warnings, outcome)
        self.assertIn("TCP", warnings[0]["message"])
        self.assertIn(warnings[0]["message"], outcome.stderr)
        self.assertIn("tcp", [line["data"] for line in outcome.events("progress")])

    def done(self, outcome, data):
        self.check(outcome, 0)
        self.assertEqual(outcome.last["data"], data, outcome)
        self.assertEqual(outcome.last["bytes"], outcome.last["bytes_sent"] + outcome.last["bytes_resumed"], outcome)
        self.check(self.ann.json("receipt", "verify", outcome.last["receipt"]), 0)
        return outcome.last


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

    def test_one_direction_alone_is_enough(self):
        source = self.random_file("file", 3_000_001)
        for number, (up, down) in enumerate(((True, False), (False, True))):
            self.box.up, self.box.down = up, down
            there = "/file%d" % number
            self.done(self.push(source, self.remote(there)), self.expected_word(up, push=True))
            self.assertEqual(sha256_file(source), sha256_file(self.served(there[1:])))
            self.done(self.pull(self.remote(there), self.path("got%d" % number)), self.expected_word(down, push=False))
            self.assertEqual(sha256_file(source), sha256_file(self.path("got%d" % number)))

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
        self.check(self.push(source, self.remote("/file"), "--data", "udp"), 3, "UDP_BLOCKED")
        self.random_file(self.served("other"), 100_000)
        self.check(self.pull(self.remote("/other"), self.path("got"), "--data", "udp"), 3, "UDP_BLOCKED")

    def test_ping_says_that_udp_does_not_get_through(self):
        self.box.shut()
        outcome = self.ann.json("ping", self.daemon.address)
        self.check(outcome, 0)
        self.assertIs(outcome.last["udp"], False)
        self.assertIn("no answer", self.ann.run("ping", self.daemon.address).stdout.decode())


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
        running = self.push_until(4_000_000)
        self.box.shut()
        outcome = running.end()
        last = self.done(outcome, "mixed")
        self.told(outcome)
        self.assertEqual(sha256_file(self.source), sha256_file(self.served("file")))
        # What was on its way, and what was sent into the dark before anybody could know: 40 Mbit/s, some seconds.
        self.assertLess(last["bytes_retransmitted"], 16_000_000)

    def test_on_pull_too(self):
        running = self.pull_until(4_000_000)
        self.box.shut()
        outcome = running.end()
        self.done(outcome, "mixed")
        self.told(outcome)
        self.assertEqual(sha256_file(self.served("file")), sha256_file(self.path("got")))

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
