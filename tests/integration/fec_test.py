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
        """Runs penstock in A, against a daemon in B; its JSON lines. What the daemon says of the end is in `ended`."""
        serve = f"{PENSTOCKD} serve --root {self.work}/files --state {self.work}/state --listen {{B}}:7440 --workers 2 --log-format json"
        ran = self.lab("run", *link, "--in-b", serve, "--ready", "listening on", "--", PENSTOCK, *words, "--json")
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        told = [line[line.index("{"):] for line in ran.stderr.splitlines() if '"transfer_ended"' in line]
        self.ended = json.loads(told[-1])
        return [json.loads(line) for line in ran.stdout.splitlines()]

    def push(self, link, size, *options):
        source = self.write("film", size)
        done = self.across(link, "push", source, "{B}:/film", *options)[-1]
        self.assertEqual(done["event"], "done")
        self.assertTrue(filecmp.cmp(source, os.path.join(self.work, "files", "film"), shallow=False))
        return done

    LOSSY = ("--delay", "20ms", "--rate", "100mbit", "--loss", "5%")
    # Loss is measured while round trips are near their least one: on a busy machine those of a short path hardly ever are.
    LONG_AND_LOSSY = ("--delay", "60ms", "--rate", "100mbit", "--loss", "5%")

    def test_a_given_ratio_recovers_what_is_lost_all_the_way(self):
        done = self.push(self.LOSSY, 16 * MIB, "--fec", "20,4")
        self.assertGreater(done["fec_recovered"], 100)  # of some 600 lost ones
        self.assertGreater(done["packets_lost"], done["fec_recovered"])  # repair symbols are lost as well, and seen to be

    def test_by_itself_the_end_of_a_push_is_protected(self):
        done = self.push(self.LOSSY, 16 * MIB)
        self.assertGreater(done["fec_recovered"], 0)
        self.assertGreaterEqual(done["tail_ms"], 40)  # there, and the word of it back
        self.assertEqual(int(self.ended["symbols_recovered"]), done["fec_recovered"])
        self.assertGreater(int(self.ended["repairs_received"]), 0)

    def test_by_itself_the_end_of_a_pull_is_protected(self):
        served = os.path.join(self.work, "files", "served")
        os.rename(self.write("made", 16 * MIB), served)
        done = self.across(self.LOSSY, "pull", "{B}:/served", os.path.join(self.work, "here", "got"))[-1]
        self.assertGreater(done["fec_recovered"], 0)
        self.assertGreaterEqual(done["tail_ms"], 40)
        self.assertGreater(int(self.ended["repairs_sent"]), 0)
        self.assertTrue(filecmp.cmp(served, os.path.join(self.work, "here", "got"), shallow=False))

    def test_each_of_several_lanes_protects_what_it_sends(self):
        for fec, link, least in (("20,4", self.LOSSY, 150), ("auto", self.LONG_AND_LOSSY, 1)):
            with self.subTest(fec=fec):
                done = self.push(link, 24 * MIB, "--lanes", "2", "--fec", fec)
                self.assertGreaterEqual(done["fec_recovered"], least)  # of some 900 lost ones
                self.assertEqual(int(self.ended["symbols_recovered"]), done["fec_recovered"])
                os.remove(os.path.join(self.work, "files", "film"))

    def test_each_of_several_lanes_protects_what_it_is_asked_for(self):
        served = os.path.join(self.work, "files", "served")
        os.rename(self.write("made", 24 * MIB), served)
        got = os.path.join(self.work, "here", "got")
        done = self.across(self.LOSSY, "pull", "{B}:/served", got, "--lanes", "2", "--fec", "20,4")[-1]
        self.assertGreaterEqual(done["fec_recovered"], 150)
        self.assertGreater(int(self.ended["repairs_sent"]), 500)
        self.assertTrue(filecmp.cmp(served, got, shallow=False))

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
