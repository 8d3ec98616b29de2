"""Forward error correction between real processes: on a lossy link lost bytes are recovered, on a clean one nothing is
spent, and what arrives is what was sent."""

import filecmp
import json
import os
import unittest

from lab_transfer import MIB, PENSTOCK, LabTransferTest


class Fec(LabTransferTest):
    def transfer(self, link, *words):
        """Runs penstock in A; its JSON lines. What the daemon says of the end is in `ended`."""
        ran = self.across(link, PENSTOCK, *words, "--json")
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        self.ended = [line for line in self.log if line["event"] == "transfer_ended"][-1]
        return [json.loads(line) for line in ran.stdout.splitlines()]

    def push(self, link, size, *options):
        source = self.write("film", size)
        done = self.transfer(link, "push", source, "{B}:/film", *options)[-1]
        self.assertEqual(done["event"], "done")
        self.assertTrue(filecmp.cmp(source, self.path("files", "film"), shallow=False))
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
        served = self.path("files", "served")
        os.rename(self.write("made", 16 * MIB), served)
        done = self.transfer(self.LOSSY, "pull", "{B}:/served", self.path("here", "got"))[-1]
        self.assertGreater(done["fec_recovered"], 0)
        self.assertGreaterEqual(done["tail_ms"], 40)
        self.assertGreater(int(self.ended["repairs_sent"]), 0)
        self.assertTrue(filecmp.cmp(served, self.path("here", "got"), shallow=False))

    def test_each_of_several_lanes_protects_what_it_sends(self):
        for fec, link, least in (("20,4", self.LOSSY, 150), ("auto", self.LONG_AND_LOSSY, 1)):
            with self.subTest(fec=fec):
                done = self.push(link, 24 * MIB, "--lanes", "2", "--fec", fec)
                self.assertGreaterEqual(done["fec_recovered"], least)  # of some 900 lost ones
                self.assertEqual(int(self.ended["symbols_recovered"]), done["fec_recovered"])
                os.remove(self.path("files", "film"))

    def test_each_of_several_lanes_protects_what_it_is_asked_for(self):
        served = self.path("files", "served")
        os.rename(self.write("made", 24 * MIB), served)
        got = self.path("here", "got")
        done = self.transfer(self.LOSSY, "pull", "{B}:/served", got, "--lanes", "2", "--fec", "20,4")[-1]
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
