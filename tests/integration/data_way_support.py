"""What the tests of TCP data start from: a middlebox that shuts UDP, and commands that are looked at while they run."""

import json
import threading
import time

from lab import LabTest, Outcome, free_port, wait_until
from udp_box import UdpBox


class Middlebox(UdpBox):
    """Each direction can be shut; towards the daemon, datagrams beyond `rate` bytes a second are dropped, as a policer
    does, and those that are longer than `largest`."""

    def __init__(self, target):
        super().__init__(target)
        self.up = self.down = True
        self.rate = None
        self.largest = 65535  # towards the daemon, in bytes of a datagram
        self.tokens, self.filled_at = 0, time.monotonic()
        self.came = 0  # datagrams of clients, dropped ones included
        self.bytes_of_clients = self.bytes_of_daemon = 0  # dropped ones included
        self.bytes_dropped = 0  # of both
        self.carried_at = None  # when a datagram passed last, as time.time() has it
        self.start()

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

    def carries(self, client, up, data):
        if up:
            self.came += 1
            self.bytes_of_clients += len(data)
            passes = self.up and len(data) <= self.largest and not self._policed(len(data))
        else:
            self.bytes_of_daemon += len(data)
            passes = self.down
        if passes:
            self.carried_at = time.time()
        else:
            self.bytes_dropped += len(data)
        return passes


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
        self.port, self.box = self.middlebox()
        self.daemon = self.start_daemon()
        self.register(self.ann)

    def middlebox(self):
        """A port that is free for a daemon, and a box in front of it."""
        port = free_port()
        box = Middlebox(("127.0.0.1", port))
        self.addCleanup(box.close)
        return port, box

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
