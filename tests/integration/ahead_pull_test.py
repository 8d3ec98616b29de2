"""A pull's request leaves with the client's proof (control/client/README, "Ahead of the answer")."""

import filecmp
import json
import os
import unittest

from between import Between
from lab import LabTest, Person, wait_until

MIB = 1 << 20


class AheadPull(LabTest):
    with_daemon = False

    def setUp(self):
        super().setUp()
        self.between = Between()
        self.addCleanup(self.between.close)
        self.start_daemon("--log-format", "json")
        outcome = self.ann.register_at(self.address, self.daemon.token())
        self.assertEqual(outcome.exit, 0, outcome)
        self.source = self.random_file("root/file", MIB)
        self.landing = self.path("landing")
        os.mkdir(self.landing)
        self.target = os.path.join(self.landing, "file")

    def start_daemon(self, *extra, listen="127.0.0.1:0"):
        advertise = "127.0.0.1:%d" % self.between.udp_port
        self.daemon = self.serve(listen=listen, extra=["--udp-advertise", advertise, *extra])
        self.between.target = ("127.0.0.1", self.daemon.port)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.between.tcp_port

    def start(self, *words):
        self.between.came = self.between.back_came = 0
        self.between.answered = False
        process = self.ann.start("pull", self.address + ":/file", self.target, "--json", *words)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def finish(self, process):
        stdout, stderr = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, (stdout, stderr))
        self.assertTrue(filecmp.cmp(self.source, self.target, shallow=False))
        self.nothing_half_written(self.landing)
        self.assertEqual(self.journals(self.ann), [])
        done = json.loads(stdout.splitlines()[-1])
        self.check(self.ann.json("receipt", "verify", done["receipt"]), 0)
        return done

    @staticmethod
    def journals(person):
        return [name for name in os.listdir(os.path.join(person.home, "journals")) if name.endswith(".journal")]

    def test_a_refusal_leaves_nothing_behind(self):
        os.mkdir(self.served("granted"))
        reader = Person(self, "bob")
        outcome = reader.register_at(self.address, self.daemon.token("bob", ("r:/granted",)))
        self.assertEqual(outcome.exit, 0, outcome)
        outcome = reader.json("pull", self.address + ":/file", self.target)
        self.check(outcome, 5, "PERMISSION_DENIED")
        self.assertEqual(os.listdir(self.landing), [])
        self.assertEqual(self.journals(reader), [])

    def test_a_target_that_is_there_stays(self):
        self.write(self.target, b"mine")
        outcome = self.ann.json("pull", self.address + ":/file", self.target)
        self.check(outcome, 6, "FILE_EXISTS")
        with open(self.target, "rb") as kept:
            self.assertEqual(kept.read(), b"mine")

    def test_the_request_leaves_with_the_proof(self):
        self.between.answer_passes.clear()
        process = self.start()
        wait_until(lambda: self.daemon.log_events("transfer_started"), "the transfer, before the client hears anything")
        self.between.answer_passes.set()
        self.finish(process)


if __name__ == "__main__":
    unittest.main()
