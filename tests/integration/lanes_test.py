"""One transfer over several lanes: the bytes are right, lanes may die, fall behind, or be another number after a kill."""

import os
import random
import unittest

from lab import LabTest, free_port, sha256_file, wait_until
from udp_box import UdpBox

LANES = 3
EXTENT = 4 << 20


class Relay(UdpBox):
    """Lanes can be made to lose datagrams towards the daemon, or to fall silent both ways."""

    def __init__(self, target, seed):
        super().__init__(target)
        self.luck = random.Random(seed)
        self.lanes = {}  # client address -> lane, as the first DATA tells it
        self.silent = set()  # lanes
        self.losing = {}  # lane -> share that is lost
        self.carried = {}  # lane -> bytes of DATA
        self.start()

    def carries(self, client, up, data):
        if data[0] >> 2 & 15 == 1:  # DATA: the offset is in the clear (dataplane/README.md)
            lane = int.from_bytes(data[13:19], "big") // EXTENT % LANES
            lane = self.lanes.setdefault(client, lane)
            self.carried[lane] = self.carried.get(lane, 0) + len(data)
        lane = self.lanes.get(client)
        if lane in self.silent:
            return False
        return not up or self.luck.random() >= self.losing.get(lane, 0)


class Lanes(LabTest):
    with_daemon = False

    def setUp(self):
        super().setUp()
        self.daemon = self.start_daemon()
        self.register(self.ann)

    def start_daemon(self, workers=LANES, **more):
        return self.serve(extra=("--workers", str(workers), "--log-format", "json"), **more)

    def lanes_of_last(self):
        return self.daemon.log_events("transfer_started")[-1]["lanes"]

    def test_a_tree_goes_both_ways_over_several_lanes(self):
        # Sizes that put blocks of files across slabs and extents, and files that share a slab.
        sizes = [0, 1, 999, (1 << 20) - 1, 1 << 20, 17 * (1 << 20) + 333, 40 * 1000 * 1000]
        for number, size in enumerate(sizes):
            self.random_file("tree/big/%d" % number, size)
        for number in range(400):
            self.random_file("tree/small/%03d" % number, number * 37)
        with open(self.path("tree/sparse"), "wb") as out:
            out.truncate(30 << 20)
            out.seek(21 << 20)
            out.write(b"x" * 100_000)
        for digest in ("xxh3", "sha256"):
            there = "/tree-" + digest
            words = ("--lanes", str(LANES), "--digest", digest)
            self.check(self.push(self.path("tree"), self.remote(there), *words), 0)
            self.assertEqual(self.lanes_of_last(), str(LANES))
            self.assert_equal_trees(self.path("tree"), self.served(there[1:]))
            back = self.path("back-" + digest)
            self.check(self.pull(self.remote(there), back, *words), 0)
            self.assertEqual(self.lanes_of_last(), str(LANES))
            self.assert_equal_trees(self.path("tree"), back)

    def test_no_more_lanes_than_the_daemon_has_workers_or_was_asked_for(self):
        file = self.random_file("file", 5_000_000)
        for asked, given in (("64", LANES), ("2", 2), ("1", 1)):
            self.check(self.push(file, self.remote("/copy-" + asked), "--lanes", asked), 0)
            self.assertEqual(self.lanes_of_last(), str(given))
            self.assertEqual(sha256_file(self.served("copy-" + asked)), sha256_file(file))

    def test_several_lanes_go_both_ways_under_every_controller_that_couples_them(self):
        file = self.random_file("file", 50_000_000)
        for words in ((), ("--cc", "bbr"), ("--cc", "cubic"), ("--cc", "fixed", "--rate", "1G")):
            copy = self.served("copy" + "".join(words))
            remote = self.remote("/" + os.path.basename(copy))
            back = self.path("back" + "".join(words))
            self.check(self.push(file, remote, "--lanes", str(LANES), *words), 0)
            self.assertEqual(self.lanes_of_last(), str(LANES))
            self.assertEqual(sha256_file(copy), sha256_file(file))
            self.check(self.pull(remote, back, "--lanes", str(LANES), *words), 0)
            self.assertEqual(self.lanes_of_last(), str(LANES))
            self.assertEqual(sha256_file(back), sha256_file(file))

    def test_several_lanes_with_scavenger_are_refused_in_words(self):
        file = self.random_file("file", 1000)
        self.check(self.push(file, self.remote("/copy"), "--lanes", "2", "--cc", "scavenger"), 2, "USAGE")

    def test_killed_at_both_ends_it_resumes_with_another_number_of_lanes(self):
        file = self.random_file("big", 300_000_000)
        words = ("push", file, self.remote("/big"))
        process = self.ann.start(*words, "--rate", "400M", "--lanes", str(LANES))
        wait_until(lambda: self.durable_blocks(self.daemon.state), "durable blocks")
        process.kill()
        self.daemon.kill()
        process.communicate()
        self.daemon = self.start_daemon(listen=self.daemon.address)
        done = self.check(self.ann.json(*words, "--lanes", "2"), 0).last
        self.assertEqual(self.lanes_of_last(), "2")
        self.assertGreater(done["bytes_resumed"], 0)
        self.assertEqual(done["bytes"], done["bytes_sent"] + done["bytes_resumed"])
        self.assertEqual(sha256_file(self.served("big")), sha256_file(file))
        self.nothing_half_written(self.served())

    def test_a_pull_goes_on_by_itself_when_the_daemon_comes_back_with_fewer_workers(self):
        file = self.random_file("root/big", 300_000_000)
        process = self.ann.start(
            "pull", self.remote("/big"), self.path("copy"), "--rate", "400M", "--lanes", str(LANES), "--json"
        )
        wait_until(lambda: self.durable_blocks(self.ann.home), "durable blocks")
        self.daemon.kill()
        self.daemon = self.start_daemon(workers=2, listen=self.daemon.address)
        stdout, stderr = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, stdout + stderr)
        self.assertEqual(self.lanes_of_last(), "2")
        self.assertEqual(sha256_file(self.path("copy")), sha256_file(file))


class LanesApart(LabTest):
    """Lanes of one transfer that fare differently on their way."""

    with_daemon = False

    def setUp(self):
        super().setUp()
        port = free_port()
        self.relay = Relay(("127.0.0.1", port), seed=5)
        self.addCleanup(self.relay.close)
        self.daemon = self.serve(
            listen="127.0.0.1:%d" % port,
            extra=("--workers", str(LANES), "--udp-advertise", "127.0.0.1:%d" % self.relay.port),
        )
        self.register(self.ann)

    def transfer(self, operation, size, spoil):
        """Something happens to a transfer at 100 Mbit/s in all, once each of its lanes has brought a megabyte."""
        file = self.random_file("root/file" if operation == "pull" else "file", size)
        copy = self.path("copy") if operation == "pull" else self.served("copy")
        words = (self.remote("/file"), copy) if operation == "pull" else (file, self.remote("/copy"))
        process = self.ann.start(
            operation, *words, "--lanes", str(LANES), "--cc", "fixed", "--rate", "100M", "--timeout", "60s", "--json"
        )
        carried = self.relay.carried
        wait_until(lambda: len(carried) == LANES and min(list(carried.values())) > 1_000_000, "bytes by every lane")
        spoil()
        stdout, stderr = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, stdout[-2000:] + stderr)
        self.assertEqual(sha256_file(copy), sha256_file(file))

    def test_a_lane_of_a_push_that_falls_silent_gives_its_extents_to_others(self):
        self.transfer("push", 60_000_000, lambda: self.relay.silent.add(2))

    def test_a_lane_of_a_pull_that_falls_silent_gives_its_extents_to_others(self):
        self.transfer("pull", 60_000_000, lambda: self.relay.silent.add(2))

    def test_a_lane_that_loses_half_is_helped_by_others(self):
        def spoil():
            self.relay.losing[2] = 0.5

        self.transfer("push", 60_000_000, spoil)


if __name__ == "__main__":
    unittest.main()
