"""What the tests of transfers across netem/lab share: a daemon in B, commands in A, beside each other or in turn."""

import json
import os
import random
import subprocess
import tempfile
import types

from lab import PATIENCE, Outcome, give_client, give_daemon, made_keys, sha256_file
from lab_support import HOUSE, LabCommandTest

BIN = os.path.abspath(os.environ.get("PENSTOCK_BIN", os.path.join(HOUSE, "build", "release", "bin")))
PENSTOCK, PENSTOCKD = os.path.join(BIN, "penstock"), os.path.join(BIN, "penstockd")
MIB = 1 << 20


class LabTransferTest(LabCommandTest):
    """`files` is what the daemon serves, `here` where pulls land; both in `work`."""

    penstock = PENSTOCK

    def setUp(self):
        super().setUp()
        self.work = self.enterContext(tempfile.TemporaryDirectory())
        for name in ("files", "here", "said"):
            os.mkdir(os.path.join(self.work, name))
        keys = made_keys()
        give_daemon(self.path("state"), keys)
        self.environment["PENSTOCK_HOME"] = self.path("home")
        self.environment["PENSTOCK_TOKEN"] = subprocess.run(
            [PENSTOCKD, "token", "--user", "ann", "--state", self.path("state")], check=True, capture_output=True, text=True
        ).stdout.strip()
        give_client(self.path("home"), self.environment["PENSTOCK_TOKEN"], keys)

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def write(self, name, size):
        path = self.path(name)
        with open(path, "wb") as out:
            out.write(random.Random(size).randbytes(size))
        return path

    def serve(self):
        """The words of --in-b."""
        return f"{PENSTOCKD} serve --root {self.work}/files --state {self.work}/state --listen {{B}}:7440 --workers 2 --log-format json"

    def across(self, link, *words):
        """Runs a program in A, against a daemon in B; gives the lab's completed process."""
        ran = self.lab("run", *link, "--in-b", self.serve(), "--ready", "listening on", "--", *words, patience=PATIENCE)
        self.log = [json.loads(line[line.index("{"):]) for line in ran.stderr.splitlines() if line.startswith("B| {")]
        return ran

    def register(self):
        """Across a link without delay, so that what follows is no first meeting."""
        ran = self.across((), PENSTOCK, "ls", "{B}:/")
        self.assertEqual(ran.returncode, 0, ran.stderr)

    def beside_each_other(self, link, commands, afterwards="true"):
        """Runs commands, words of penstock by a name, at one time, then a line of sh; gives the outcome of each."""
        lines = ["%s --json %s > said/%s.out 2> said/%s.err & %s=$!" % (PENSTOCK, " ".join(words), name, name, name)
                 for name, words in commands.items()]
        lines += ["wait $%s; echo $? > said/%s.exit" % (name, name) for name in commands]
        # The lab fills the addresses in, in words of the command alone.
        ran = self.across(link, "sh", "-c", "cd %s\n%s\n%s\n" % (self.work, "\n".join(lines), afterwards))
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return {name: self.outcome(name) for name in commands}

    def outcome(self, name):
        """How a command ended whose words went to `said`."""
        said = {}
        for what in ("out", "err", "exit"):
            with open(self.path("said", name + "." + what), "rb") as file:
                said[what] = file.read()
        return Outcome(types.SimpleNamespace(returncode=int(said["exit"])), said["out"], said["err"])

    def listed(self, directory, names):
        self.assertEqual(sorted(os.listdir(self.path(directory))), names)

    def same(self, a, b):
        self.assertEqual(sha256_file(self.path(a)), sha256_file(self.path(b)))
