"""Labs that stay up: up, status, run --lab, set, down."""

import json
import re
import tempfile

from lab_support import LabCommandTest


class ByName(LabCommandTest):
    def setUp(self):
        super().setUp()
        self.environment["XDG_RUNTIME_DIR"] = self.enterContext(tempfile.TemporaryDirectory())
        self.addCleanup(self.lab, "down", "--all")

    def done(self, *words):
        ran = self.lab(*words)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout

    def round_trip(self, name):
        said = self.done("run", "--lab", name, "--", "ping", "-qc", "2", "-i", "0.1", "{B}")
        return float(re.search(r"= ([\d.]+)/", said)[1])

    def test_a_lab_outlives_its_commands_and_can_be_changed(self):
        self.assertIn("RTT 20 ms", self.done("up", "one", "--delay", "10ms"))
        self.assertGreaterEqual(self.round_trip("one"), 20.0)
        self.done("set", "one", "A", "both", "delay=40ms")
        self.assertGreaterEqual(self.round_trip("one"), 80.0)
        self.done("set", "one", "A", "up", "down=yes")
        self.assertEqual(self.lab("run", "--lab", "one", "--", "ping", "-qc", "1", "-W", "1", "{B}").returncode, 1)
        told = json.loads(self.done("status", "--json"))["one"]
        self.assertEqual(told["legs"]["A"], {"up": "delay=40ms,down=yes", "down": "delay=40ms"})
        self.assertEqual(told["counters"]["legs"]["A"]["up"]["lost_down"], 1)
        self.assertEqual(told["hosts"]["B"]["address4"], "10.77.0.2")
        self.done("down", "one")
        self.assertEqual(self.done("status"), "no lab is up\n")

    def test_labs_of_two_names_do_not_meet(self):
        self.done("up", "near", "--delay", "5ms")
        self.done("up", "far", "--delay", "60ms")
        self.assertEqual(list(json.loads(self.done("status", "--json"))), ["far", "near"])
        self.assertGreaterEqual(self.round_trip("far"), 120.0)
        self.assertLess(self.round_trip("near"), 120.0)
        self.done("down", "--all")

    def test_the_clock_starts_with_the_first_command(self):
        self.done("up", "late", "--change", "0s:delay=50ms")
        self.assertFalse(json.loads(self.done("status", "--json"))["late"]["clock_runs"])
        self.assertGreaterEqual(self.round_trip("late"), 100.0)
        self.assertTrue(json.loads(self.done("status", "--json"))["late"]["clock_runs"])
        self.assertGreaterEqual(self.round_trip("late"), 100.0)

    def test_what_a_command_leaves_in_a_lab_goes_with_the_command(self):
        self.done("up", "one")
        before = set(self.descendants())
        in_b = ("--in-b", "echo ready; sleep 1000 & sleep 1000", "--ready", "ready")
        self.done("run", "--lab", "one", *in_b, "--", "sh", "-c", "sleep 1000 & :")
        self.assertLessEqual(set(self.descendants()), before)

    def test_mistakes_are_told_and_harm_nothing(self):
        self.done("up", "one", "--delay", "10ms")
        for code, message, words in (
            (125, "up already", ("up", "one")),
            (125, "no lab 'two' is up .*: one", ("run", "--lab", "two", "--", "true")),
            (125, "no lab 'two'", ("down", "two")),
            (125, "no lab 'two'", ("status", "two")),
            (125, "no lab 'two'", ("set", "two", "A", "up", "loss=1%")),
            (2, "no name", ("up", "../one")),
            (2, "no leg C", ("set", "one", "C", "up", "loss=1%")),
            (2, "no direction", ("set", "one", "A", "left", "loss=1%")),
            (2, "colour", ("set", "one", "A", "up", "colour=red")),
            (2, "probability", ("set", "one", "A", "up", "loss=200%")),
            (2, "needs a rate", ("set", "one", "A", "up", "queue=1bdp")),
            (2, "netem/lab set one", ("run", "--lab", "one", "--loss", "1%", "--", "true")),
            (2, "--all", ("down",)),
        ):
            with self.subTest(words):
                ran = self.lab(*words)
                self.assertEqual(ran.returncode, code, ran.stderr)
                self.assertRegex(ran.stderr, message)
                self.assertNotIn("Traceback", ran.stderr)
        self.assertGreaterEqual(self.round_trip("one"), 20.0)
