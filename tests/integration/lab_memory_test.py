"""What one transfer finds out about a path, the next one begins with (control/client/README, "What is remembered of a path")."""

import filecmp
import json
import os
import subprocess
import tempfile

from lab_support import HOUSE, LabCommandTest

BIN = os.path.abspath(os.environ.get("PENSTOCK_BIN", os.path.join(HOUSE, "build", "release", "bin")))
MIB = 1 << 20

# In A; $1 is B's address. The first of each pair meets a path that nobody knows in its direction.
COMMANDS = """
set -e
penstock ls $1:/ > /dev/null
penstock push -q big $1:/big
penstock push -q small $1:/small
penstock pull -q $1:/big landed/big
penstock pull -q $1:/small landed/small
cp home/paths.json found.json
echo '{"version": 1, "paths": [' > home/paths.json
penstock pull -q $1:/small landed/again
"""


class PathsAreRemembered(LabCommandTest):
    def test_of_both_directions_and_a_broken_memory_is_none(self):
        with tempfile.TemporaryDirectory() as work:
            for name in ("root", "landed"):
                os.mkdir(os.path.join(work, name))
            for name, size in (("big", 8 * MIB), ("small", MIB)):
                with open(os.path.join(work, name), "wb") as file:
                    file.write(os.urandom(size))
            with open(os.path.join(work, "commands"), "w", encoding="utf-8") as file:
                file.write(COMMANDS)
            environment = {"PATH": BIN + ":" + os.environ["PATH"], "PENSTOCK_HOME": os.path.join(work, "home")}
            token = subprocess.run([BIN + "/penstockd", "token", "--user", "ann", "--state", work + "/state"],
                                   capture_output=True, text=True, check=True)
            environment["PENSTOCK_TOKEN"] = token.stdout.strip()
            serve = f"penstockd serve --root {work}/root --state {work}/state --listen {{B}}:7440 --log-format json"
            ran = self.lab("run", "--delay", "50ms", "--rate", "100mbit", "--in-b", serve, "--ready", "listening on", "--",
                           "bash", "commands", "{B}", environment=environment, cwd=work)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            for sent, landed in (("big", "root/big"), ("small", "root/small"), ("big", "landed/big"), ("small", "landed/again")):
                self.assertTrue(filecmp.cmp(os.path.join(work, sent), os.path.join(work, landed), shallow=False), landed)

            log = [json.loads(line[len("B| "):]) for line in ran.stderr.splitlines() if line.startswith("B| {")]
            remembered = [int(line["remembered_bps"]) for line in log if line["event"] == "transfer_started"]
            self.assertEqual(len(remembered), 5, remembered)
            self.assertEqual(remembered[0], 0)  # push: nobody knew
            self.assertGreater(remembered[1], 10_000_000)
            self.assertEqual(remembered[2], 0)  # pull: that way is another
            self.assertGreater(remembered[3], 10_000_000)
            self.assertEqual(remembered[4], 0)  # the memory was broken
            # And the daemon, where it sends, begins with more for it.
            windows = [int(line["window_first_bytes"]) for line in log if line["event"] == "transfer_ended"]
            self.assertEqual(windows[2], windows[4])
            self.assertGreater(windows[3], windows[2])

            with open(os.path.join(work, "found.json"), encoding="utf-8") as file:
                paths = json.load(file)["paths"]
            self.assertEqual(len(paths), 1)
            self.assertGreaterEqual(paths[0]["rtt_us"], 100_000)
            self.assertGreater(paths[0]["up"]["bps"], 10_000_000)
            self.assertGreater(paths[0]["down"]["bps"], 10_000_000)
            with open(os.path.join(work, "home", "paths.json"), encoding="utf-8") as file:
                self.assertIn("down", json.load(file)["paths"][0])  # found again
