#!/usr/bin/env python3
"""penstock_sim_paths refuses what it does not know, and says what it knows."""

import os
import subprocess
import unittest
from pathlib import Path

PROGRAM = Path(os.environ.get("PENSTOCK_BIN", Path(__file__).resolve().parents[2] / "build/release/bin")) / "penstock_sim_paths"


class Names(unittest.TestCase):
    def refused(self, *words: str) -> str:
        run = subprocess.run([PROGRAM, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
        self.assertEqual(run.returncode, 2, run.stderr)
        self.assertEqual(run.stdout, "")  # an empty table would be taken for a measurement
        return run.stderr

    def test_a_couple_that_is_not_in_the_table(self) -> None:
        for name in ("bbr/tcp", "bbr", "cubic/tcp-bbr", ""):
            with self.subTest(name):
                said = self.refused("fairness", "--couple", name)
                for known in ("bbr/bbr", "cubic/bbr", "scav/cubic", "bbr/tcp-bbr", "tcp-bbr/tcp-bbr"):
                    self.assertIn(f" {known}", said)

    def test_a_flow_that_there_is_not(self) -> None:
        for option in ("--cc", "--beside"):
            self.assertIn("bbr, cubic, scavenger or tcp-bbr", self.refused("convergence", option, "reno"))
        self.assertIn("no controller of the engine", self.refused("steps", "--cc", "tcp-bbr"))

    def test_a_table_or_an_option_that_there_is_not(self) -> None:
        for word in ("fairnes", "--coupel"):
            self.assertIn("matrix ack-loss", self.refused(word))

    def test_an_option_without_its_value(self) -> None:
        for option in ("--couple", "--cc", "--seconds"):
            self.assertIn(f"{option} needs a value", self.refused("fairness", option))


if __name__ == "__main__":
    unittest.main()
