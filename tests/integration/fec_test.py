"""Forward error correction between real processes: on a lossy link lost bytes are recovered, on a clean one nothing is
spent, and what arrives is what was sent."""

import filecmp
import json
import os
import random
import subprocess
import tempfile
import unittest

from lab_support import LabCommandTest

BIN = os.environ.get("PENSTOCK_BIN", os.path.join(os.path.dirname(__file__), "../../build/release/bin"))
BIN = os.path.abspath(BIN)
PENSTOCK, PENSTOCKD = os.path.join(BIN, "penstock"), os.path.join(BIN, "penstockd")
MIB = 1 << 20


class Fec(LabCommandTest):
    def setUp(self):
        super().setUp()
        self.work = self.enterContext(tempfile.TemporaryDirectory())
        for name in ("files", "here"):
            os.mkdir(os.path.join(self.work, name))
        self.environment["PENSTOCK_HOME"] = os.path.join(self.work, "home")
        self.environment["PENSTOCK_TOKEN"] = subprocess.run(
            [PENSTOCKD, "token", "--user", "ann", "--state", os.path.join(self.work, "state")],
            check=True, capture_output=True, text=True,
        ).stdout.strip()

    def write(self, name, size):
        path = os.path.join(self.work, name)
        with open(path, "wb") as out:
            out.write(random.Random(size).randbytes(size))
        return path

    def across(self, link, *words):
        """Runs penstock in A, against a daemon in B; its JSON lines."""
        serve = f"{PENSTOCKD} serve --root {self.work}/files --state {self.work}/state --listen {{B}}:7440"
        ran = self.lab("run", *link, "--in-b", serve, "--ready", "listening on", "--", PENSTOCK, *words, "--json")
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        return [json.loads(line) for line in ran.stdout.splitlines()]

    def push(self, link, size, *options):
        source = self.write("film", size)
        done = self.across(link, "push", source, "{B}:/film", *options)[-1]
        self.assertEqual(done["event"], "done")
        self.assertTrue(filecmp.cmp(source, os.path.join(self.work, "files", "film"), shallow=False))
        return done

    LOSSY = ("--delay", "20ms", "--rate", "100mbit", "--loss", "5%")

    def test_a_given_ratio_recovers_what_is_lost_all_the_way(self):
        done = self.push(self.LOSSY, 16 * MIB, "--fec", "20,4")
        self.assertGreater(done["fec_recovered"], 100)  # of some 600 lost ones
        self.assertGreater(done["packets_lost"], done["fec_recovered"])  # repair symbols are lost as well, and seen to be

    def test_by_itself_the_end_of_a_push_is_protected(self):
        self.assertGreater(self.push(self.LOSSY, 16 * MIB)["fec_recovered"], 0)

    def test_by_itself_the_end_of_a_pull_is_protected(self):
        served = os.path.join(self.work, "files", "served")
        os.rename(self.write("made", 16 * MIB), served)
        done = self.across(self.LOSSY, "pull", "{B}:/served", os.path.join(self.work, "here", "got"))[-1]
        self.assertGreater(done["fec_recovered"], 0)
        self.assertTrue(filecmp.cmp(served, os.path.join(self.work, "here", "got"), shallow=False))

    def test_switched_off_nothing_is_recovered(self):
        self.assertEqual(self.push(self.LOSSY, 4 * MIB, "--fec", "off")["fec_recovered"], 0)

    def test_a_clean_link_carries_no_repair(self):
        size = 8 * MIB
        done = self.push(("--delay", "20ms", "--rate", "100mbit"), size, "--cc", "fixed", "--rate", "50M")
        self.assertEqual((done["fec_recovered"], done["packets_lost"]), (0, 0))
        # A datagram for each 1437 bytes, and what control, acknowledgements and skipped sizes add.
        self.assertLess(done["packets_sent"], size / 1437 * 1.05 + 100)


if __name__ == "__main__":
    unittest.main()
