"""How many round trips a push of a MiB takes, as a whole command: so few that a long path is not felt twice (control/client/README,
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
        """The round trips that it took, but for the processor's time; of one that lost something, too many."""
        ended = self.beside_each_other(self.LINK, {"small": ("push", "small", "{B}:/%d" % number)})["small"]
        self.assertEqual((ended.exit, ended.last.get("event")), (0, "done"), ended)
        self.same("small", "files/%d" % number)
        if (ended.last["data"], ended.last["packets_lost"]) != ("udp", 0):
            return math.inf
        return (ended.last["seconds"] - PROCESSOR) / RTT

    def assert_at_most(self, most, before):
        took = []
        while not took or (min(took) > most + SPARE / RTT and len(took) < ATTEMPTS):
            before()
            took.append(self.push_small(len(took)))
        print("at most %d round trips: %s" % (most, ", ".join("%.2f" % one for one in took)))
        self.assertLessEqual(min(took), most + SPARE / RTT)

    def forget(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path("home", "paths.json"))

    def test_an_unknown_path_takes_seven(self):
        self.assert_at_most(7, before=self.forget)

    def test_a_remembered_path_takes_five(self):
        # Big enough to find out what the path carries; a small one takes nothing of that back.
        self.write("large", 12 * MIB)
        large = self.beside_each_other(self.LINK, {"large": ("push", "large", "{B}:/large")})["large"]
        self.assertEqual(large.exit, 0, large)
        self.assert_at_most(5, before=lambda: None)


if __name__ == "__main__":
    unittest.main()
