"""Somebody on the path repeats, spoils and invents datagrams of a running transfer: nothing wrong is delivered."""

import copy
import os
import random
import socket
import threading
import unittest

from lab import LabTest, free_port, sha256_file, wait_until


class Added:
    """Datagrams that nobody of the two ends sent."""

    def __init__(self):
        self.replayed = self.spoilt = self.invented = 0

    def total(self):
        return self.replayed + self.spoilt + self.invented


class Meddler:
    """A relay for one client's datagrams that adds replays of old ones, spoilt copies, and inventions of its own under
    connection ids that it has seen."""

    def __init__(self, target, seed):
        self.target = target
        self.luck = random.Random(seed)
        self.inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for side in (self.inside, self.outside):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            side.bind(("127.0.0.1", 0))
            side.settimeout(0.1)
        self.port = self.outside.getsockname()[1]
        self.client = None
        # By the socket that the honest ones come to: `outside` hears the client, `inside` the daemon.
        self.added = {self.inside: Added(), self.outside: Added()}
        self.lock = threading.Lock()
        self.ended = False
        self.threads = [
            threading.Thread(target=self._carry, args=(self.outside, self.to_daemon)),
            threading.Thread(target=self._carry, args=(self.inside, self.to_client)),
        ]
        for thread in self.threads:
            thread.start()

    def added_to_daemon(self):
        with self.lock:
            return copy.copy(self.added[self.outside])

    def added_in_all(self):
        with self.lock:
            return [sum(getattr(way, what) for way in self.added.values()) for what in ("replayed", "spoilt", "invented")]

    def to_daemon(self, datagram):
        self.inside.sendto(datagram, self.target)

    def to_client(self, datagram):
        if self.client is not None:
            self.outside.sendto(datagram, self.client)

    def _carry(self, come_in, send_on):
        old = []
        while not self.ended:
            try:
                datagram, sender = come_in.recvfrom(65536)
            except socket.timeout:
                continue
            except OSError:
                return
            if come_in is self.outside:
                self.client = sender
            send_on(datagram)
            with self.lock:
                self._meddle(datagram, old, send_on, self.added[come_in])

    def _meddle(self, datagram, old, send_on, added):
        if len(old) < 4096:
            old.append(datagram)
        else:
            old[self.luck.randrange(4096)] = datagram
        chance = self.luck.random()
        if chance < 0.05:
            send_on(self.luck.choice(old))
            added.replayed += 1
        elif chance < 0.10:
            spoilt = bytearray(self.luck.choice(old))
            spoilt[self.luck.randrange(len(spoilt))] ^= 1 << self.luck.randrange(8)
            send_on(bytes(spoilt))
            added.spoilt += 1
        elif chance < 0.15:
            send_on(datagram[:9] + self.luck.randbytes(self.luck.randrange(0, 1400)))
            added.invented += 1

    def stop(self):
        self.ended = True
        for thread in self.threads:
            thread.join()
        self.inside.close()
        self.outside.close()


class HostileNetwork(LabTest):
    with_daemon = False

    def setUp(self):
        super().setUp()
        port = free_port()
        self.meddler = Meddler(("127.0.0.1", port), seed=2607)
        self.addCleanup(self.meddler.stop)
        self.daemon = self.serve(
            listen="127.0.0.1:%d" % port,
            extra=("--udp-advertise", "127.0.0.1:%d" % self.meddler.port, "--log-format", "json"),
        )
        self.register(self.ann)
        for number in range(10):
            self.random_file("tree/%d" % number, 1_500_000 + number)

    def test_replays_and_inventions_change_no_byte(self):
        done = self.check(self.push(self.path("tree"), self.remote("/tree"), "--rate", "60M"), 0).last
        self.assertGreater(min(self.meddler.added_in_all()), 10)
        self.assert_equal_trees(self.path("tree"), self.served("tree"))
        self.check(self.ann.json("receipt", "check", done["receipt"], self.served("tree")), 0)
        done = self.check(self.pull(self.remote("/tree"), self.path("back"), "--rate", "60M"), 0).last
        self.assert_equal_trees(self.path("tree"), self.path("back"))
        self.assertEqual(done["bytes"], done["bytes_sent"])

    def test_the_daemons_log_says_how_many_datagrams_it_did_not_believe(self):
        self.check(self.push(self.path("tree"), self.remote("/tree"), "--rate", "60M"), 0)
        wait_until(lambda: self.daemon.logged('"transfer_ended"'), "the daemon's last word on the transfer")
        [ended] = self.daemon.log_events("transfer_ended")
        forged, repeated = int(ended["datagrams_forged"]), int(ended["datagrams_repeated"])
        # Asked after the daemon counted: what came meanwhile can only be more.
        added = self.meddler.added_to_daemon()
        self.assertGreaterEqual(forged, 1)
        self.assertGreaterEqual(repeated, 1)
        # A replay repeats; an invention is forged, unless the number that it makes up has been; a spoilt copy is either,
        # as the number is looked at before the seal. A loss on the way, or an id that was hit, leaves fewer of all.
        self.assertLessEqual(forged, added.spoilt + added.invented)
        self.assertLessEqual(forged + repeated, added.total())

    def test_what_was_recorded_of_an_ended_transfer_is_worth_nothing_in_the_next(self):
        file = self.random_file("blob", 3_000_000)
        recorded = []
        to_daemon = self.meddler.to_daemon
        meddle = self.meddler._meddle

        def record(datagram, old, send_on, added):
            recorded.append(datagram)
            meddle(datagram, old, send_on, added)

        self.meddler._meddle = record
        self.check(self.push(file, self.remote("/one"), "--rate", "60M"), 0)
        self.assertGreater(len(recorded), 100)
        other = self.random_file("other", 3_000_000)
        process = self.ann.start("push", other, self.remote("/two"), "--rate", "60M", "--json")
        for datagram in recorded[:4000]:
            to_daemon(datagram)
        stdout, stderr = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, stdout + stderr)
        self.assertEqual(sha256_file(other), sha256_file(self.served("two")))
        self.assertEqual(sha256_file(file), sha256_file(self.served("one")))
        self.assertEqual(sorted(os.listdir(self.served())), ["one", "two"])


if __name__ == "__main__":
    unittest.main()
