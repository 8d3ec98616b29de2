"""How many round trips a push and a pull of a MiB take, as whole commands: so few that a long path is not felt twice (control/client/README,
"Ahead of the answer")."""

import contextlib
import math
import os
import unittest

from lab_transfer import MIB, LabTransferTest

RTT = 0.8  # seconds: long beside what the processor takes
PROCESSOR = 0.1  # seconds of a command
# Seconds that a machine takes beyond that which has others to run as well; one more round trip is twice as much.
SPARE = RTT / 2
ATTEMPTS = 5


class RoundTrips(LabTransferTest):
    """A busy machine makes a command slower, never faster: one of some that is fast enough shows what a push needs."""

    LINK = ("--delay", "%dms" % (1000 * RTT / 2), "--rate", "100mbit", "--queue", "1bdp")

    def setUp(self):
        super().setUp()
        self.register()
        self.write("small", MIB)

    def push_small(self, number):
        return self.take(("push", "small", "{B}:/%d" % number), "small", "files/%d" % number)

    def pull_small(self, number):
        return self.take(("pull", "{B}:/small", "%d" % number), "files/small", "%d" % number)

    def take(self, words, source, target):
        """The round trips that it took, but for the processor's time; of one that lost something, too many."""
        ended = self.beside_each_other(self.LINK, {"small": words})["small"]
        self.assertEqual((ended.exit, ended.last.get("event")), (0, "done"), ended)
        self.same(source, target)
        if (ended.last["data"], ended.last["packets_lost"]) != ("udp", 0):
            return math.inf
        return (ended.last["seconds"] - PROCESSOR) / RTT

    def assert_at_most(self, most, act, before):
        took = []
        while not took or (min(took) > most + SPARE / RTT and len(took) < ATTEMPTS):
            before()
            took.append(act(len(took)))
        print("at most %d round trips: %s" % (most, ", ".join("%.2f" % one for one in took)))
        self.assertLessEqual(min(took), most + SPARE / RTT)

    def forget(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path("home", "paths.json"))

    def test_an_unknown_path_takes_seven(self):
        self.assert_at_most(7, self.push_small, before=self.forget)

    def test_a_pull_takes_one_more_for_the_word_that_it_is_durable(self):
        self.write("files/small", MIB)
        self.assert_at_most(8, self.pull_small, before=self.forget)

    def test_a_remembered_path_takes_five(self):
        # Big enough to find out what the path carries; a small one takes nothing of that back.
        self.write("large", 12 * MIB)
        large = self.beside_each_other(self.LINK, {"large": ("push", "large", "{B}:/large")})["large"]
        self.assertEqual(large.exit, 0, large)
        self.assert_at_most(5, self.push_small, before=lambda: None)

    def test_a_pull_by_a_remembered_path_takes_one_more(self):
        self.write("files/small", MIB)
        self.write("files/large", 12 * MIB)
        large = self.beside_each_other(self.LINK, {"large": ("pull", "{B}:/large", "large")})["large"]
        self.assertEqual(large.exit, 0, large)
        self.assert_at_most(6, self.pull_small, before=lambda: None)


if __name__ == "__main__":
    unittest.main()
