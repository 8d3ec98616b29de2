"""The quick start of netem/README.md, as it stands there: a push across a bad link."""

import filecmp
import os
import re
import subprocess
import tempfile

from lab_support import HOUSE, LabCommandTest

BIN = os.path.abspath(os.environ.get("PENSTOCK_BIN", os.path.join(HOUSE, "build", "release", "bin")))


class QuickStart(LabCommandTest):
    def test_the_readme_is_right(self):
        with open(os.path.join(HOUSE, "netem", "README.md"), encoding="utf-8") as readme:
            script = re.search(r"```sh\n(.*?)```", readme.read(), re.DOTALL)[1]
        self.assertIn("--delay 50ms --loss 1% --rate 200mbit", script)
        script = script.replace("$PWD/build/release/bin", BIN)  # wherever this build is
        with tempfile.TemporaryDirectory() as work:
            environment = dict(self.environment, TMPDIR=work, PENSTOCK_BIN=BIN)
            ran = subprocess.run(["bash", "-ec", script], cwd=HOUSE, env=environment, capture_output=True, text=True, timeout=600)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            self.assertIn("lab: back end", ran.stderr)
            self.assertIn("RTT 100 ms", ran.stderr)
            places = [os.path.join(place, "film.mov") for place, _, names in os.walk(work) if "film.mov" in names]
            self.assertEqual(len(places), 2)
            self.assertTrue(filecmp.cmp(*places, shallow=False))
