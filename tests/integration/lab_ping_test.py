"""penstock ping against the lab's truth. The tolerances are those of netem/README.md; nothing here looks at a clock."""

import json
import math
import os
import shlex
import tempfile

from lab_support import HOUSE, LabCommandTest

BIN = os.path.abspath(os.environ.get("PENSTOCK_BIN", os.path.join(HOUSE, "build", "release", "bin")))


class PingMeetsTheTruth(LabCommandTest):
    def ping(self, *link):
        """One ping across a link: its last line, and what the lab counted."""
        with tempfile.TemporaryDirectory() as work:
            place = lambda name: shlex.quote(os.path.join(work, name))
            os.mkdir(os.path.join(work, "files"))
            environment = {"PENSTOCK_HOME": os.path.join(work, "home"), "PENSTOCK_BIN": BIN, "PATH": BIN + ":" + os.environ["PATH"]}
            serve = f"penstockd serve --root {place('files')} --state {place('state')} --listen {{B}}:7440"
            token = f"penstockd token --user ann --state {place('state')}"
            # The first ping registers, which is not what is measured.
            command = f"PENSTOCK_TOKEN=$({token}) penstock ls {{B}}:/ >/dev/null && penstock ping --json {{B}}"
            ran = self.lab("run", *link, "--counters", os.path.join(work, "counters"), "--in-b", serve, "--ready", "listening on",
                           "--", "sh", "-c", command, environment=environment)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            with open(os.path.join(work, "counters"), encoding="utf-8") as counters:
                counted = json.load(counters)
        if counted.get("overruns"):
            self.skipTest("the machine itself lost packets: it is too busy to emulate this link")
        return json.loads(ran.stdout.splitlines()[-1])

    def check(self, said, rtt_ms, loss, rate_bps):
        self.assertEqual(said["event"], "done")
        self.assertIsNone(said["unmeasured"])
        self.assertTrue(said["udp"])
        self.assertEqual(said["path_mtu"], 1500)
        self.assertEqual(said["ecn"], "usable")
        self.assertAlmostEqual(said["rtt_ms"], rtt_ms, delta=0.1 * rtt_ms)
        self.assertAlmostEqual(said["rate_bps"], rate_bps * (1 - loss), delta=0.2 * rate_bps)
        packets = said["loss_packets"]
        self.assertGreaterEqual(packets, 500)
        tolerance = 3 * math.sqrt(loss * (1 - loss) / packets) + 0.005
        self.assertAlmostEqual(said["loss"], loss, delta=tolerance)

    def test_a_lossy_link(self):
        said = self.ping("--delay", "25ms", "--rate", "50mbit", "--loss", "2%")
        self.check(said, rtt_ms=50, loss=0.02, rate_bps=50e6)

    def test_a_long_clean_link_with_a_short_queue(self):
        said = self.ping("--delay", "75ms", "--rate", "20mbit", "--queue", "64KiB")
        self.check(said, rtt_ms=150, loss=0, rate_bps=20e6)
