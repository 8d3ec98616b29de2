"""ECN between real processes: what is sent is marked on the wire, and a queue that marks is heeded before it overflows."""

import json
import os
import shlex
import tempfile

from lab_support import HOUSE, LabCommandTest

BIN = os.path.abspath(os.environ.get("PENSTOCK_BIN", os.path.join(HOUSE, "build", "release", "bin")))
SIZE = 24 << 20


class MarksOnTheWire(LabCommandTest):
    def push(self, *link, family="{B}"):
        """What the lab counted on the way of one push."""
        with tempfile.TemporaryDirectory() as work:
            place = lambda name: shlex.quote(os.path.join(work, name))
            os.mkdir(os.path.join(work, "files"))
            with open(os.path.join(work, "film"), "wb") as film:
                film.write(os.urandom(1 << 20) * (SIZE >> 20))
            environment = {"PENSTOCK_HOME": os.path.join(work, "home"), "PATH": BIN + ":" + os.environ["PATH"]}
            serve = f"penstockd serve --root {place('files')} --state {place('state')} --listen {family}:7440"
            token = f"penstockd token --user ann --state {place('state')}"
            command = f"PENSTOCK_TOKEN=$({token}) penstock push -v {place('film')} {family}:/film"
            ran = self.lab("run", "--back-end", "emulator", *link, "--counters", os.path.join(work, "counters"),
                           "--in-b", serve, "--ready", "listening on", "--", "sh", "-c", command, environment=environment)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            self.assertEqual(os.path.getsize(os.path.join(work, "files", "film")), SIZE)
            with open(os.path.join(work, "counters"), encoding="utf-8") as counters:
                counted = json.load(counters)
        self.said = ran.stderr
        if counted.get("overruns"):
            self.skipTest("the machine itself lost packets: it is too busy to emulate this link")
        return counted["legs"]["A"]

    def test_a_marking_queue_marks_and_loses_next_to_nothing(self):
        for family in ("{B}", "[{B6}]"):
            with self.subTest(family=family):
                leg = self.push("--delay", "10ms", "--rate", "50mbit", "--queue", "2bdp", "--mark", "0.1bdp", family=family)
                self.assertGreater(leg["up"]["marked"], 0)
                # Once each: the command with -v, and the daemon's log.
                self.assertEqual(self.said.count("marks packets instead of dropping them (ECN)"), 2, self.said)
                self.assertEqual(self.said.count(" debug ecn: "), 1, self.said)
                # TCP's own packets and ACKs are not marked, and bulk goes one way.
                self.assertEqual(leg["down"]["marked"], 0)
                self.assertLessEqual(leg["up"]["lost_queue"], leg["up"]["offered_packets"] // 100)
