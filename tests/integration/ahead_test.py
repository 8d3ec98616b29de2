"""A push begins before the daemon has answered the client's proof (control/client/README, "Ahead of the answer"): in
whatever order proof and datagrams arrive, and whichever is lost.
"""

import filecmp
import json
import os
import unittest

from between import Between
from lab import LabTest, Person, wait_until

MIB = 1 << 20


class Ahead(LabTest):
    with_daemon = False

    def setUp(self):
        super().setUp()
        self.between = Between()
        self.addCleanup(self.between.close)
        self.daemon = self.serve(extra=["--udp-advertise", "127.0.0.1:%d" % self.between.udp_port, "--log-format", "json"])
        self.between.target = ("127.0.0.1", self.daemon.port)
        outcome = self.ann.register_at(self.address, self.daemon.token())
        self.assertEqual(outcome.exit, 0, outcome)
        self.source = self.random_file("file", MIB)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.between.tcp_port

    def start(self, *words):
        self.between.answered = False  # it was, when we registered
        process = self.ann.start("push", self.source, self.address + ":/file", "--json", *words)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def finish(self, process):
        stdout, stderr = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, (stdout, stderr))
        self.assertTrue(filecmp.cmp(self.source, self.served("file"), shallow=False))
        self.nothing_half_written(self.daemon.root)
        return stdout

    def journals(self):
        place = os.path.join(self.daemon.state, "journals")
        return [name for name in os.listdir(place) if name.endswith(".journal")]

    def assert_untouched(self):
        self.assertEqual(os.listdir(self.daemon.root), [])
        self.assertEqual(self.journals(), [])
        self.assertEqual(self.daemon.log_events("transfer_started"), [])
        self.assertEqual(self.between.back_came, 0)  # nothing is answered

    def test_datagrams_before_the_proof_touch_nothing_and_count_once_it_is_there(self):
        self.between.proof_passes.clear()
        process = self.start()
        wait_until(lambda: self.between.came >= 20, "datagrams ahead of the proof")
        self.assertIsNone(process.poll())
        self.assert_untouched()
        self.between.proof_passes.set()
        self.finish(process)

    def test_the_proof_before_every_datagram(self):
        self.between.datagrams_pass.clear()
        process = self.start()
        wait_until(lambda: self.between.answered, "the daemon's answer")
        self.between.datagrams_pass.set()
        self.finish(process)

    def test_the_first_datagrams_lost(self):
        self.between.drop = 40
        self.finish(self.start())
        self.assertEqual(self.between.drop, 0)

    def test_nothing_without_the_proof(self):
        self.between.proof_passes.clear()
        process = self.start()
        wait_until(lambda: self.between.came >= 20, "datagrams ahead of the proof")
        process.kill()
        process.wait()
        self.assert_untouched()
        # Nor is anything left of it that the same command could meet.
        self.between.proof_passes.set()
        self.finish(self.start())

    def test_what_is_left_out_before_the_answer_counts_in_the_end(self):
        self.source = os.path.dirname(self.random_file("tree/file", MIB))
        os.mkfifo(os.path.join(self.source, "fifo"))
        self.between.proof_passes.clear()
        process = self.start()
        wait_until(lambda: self.between.came >= 20, "datagrams ahead of the proof")
        self.between.proof_passes.set()
        stdout, stderr = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 10, (stdout, stderr))
        self.assertIn(b"fifo", stderr + stdout)

    def test_a_refusal_is_told_and_the_rest_passed_over(self):
        os.mkdir(self.served("granted"))
        reader = Person(self, "bob")
        outcome = reader.register_at(self.address, self.daemon.token("bob", ("rw:/granted",)))
        self.assertEqual(outcome.exit, 0, outcome)
        outcome = reader.json("push", self.source, self.address + ":/file")
        self.check(outcome, 5, "PERMISSION_DENIED")
        self.assertEqual(os.listdir(self.daemon.root), ["granted"])
        self.check(reader.json("push", self.source, self.address + ":/granted/file"), 0)

    def test_what_an_earlier_run_left_is_taken_up(self):
        self.source = self.random_file("large", 96 * MIB)
        process = self.start("--rate", "100M")  # slow enough that the kill lands in the middle
        wait_until(lambda: self.durable_blocks(self.daemon.state, 500), "durable blocks")
        process.kill()
        process.wait()
        said = self.finish(self.start())
        self.assertIn(b'"resuming":true', said.replace(b" ", b""))

    def test_a_file_that_an_earlier_run_finished_turns_out_so_while_it_is_read(self):
        self.source = self.random_file("large", 64 * MIB)  # more than is read before anything is answered
        receipts = os.path.join(self.ann.home, "receipts")
        self.write(receipts)  # the daemon commits, and the client can not keep what it hears
        process = self.start()
        process.communicate(timeout=120)
        self.assertNotEqual(process.returncode, 0)
        os.unlink(receipts)
        self.between.came = 0
        self.between.proof_passes.clear()
        process = self.start()
        wait_until(lambda: self.between.came >= 20, "datagrams ahead of the proof")
        self.between.proof_passes.set()
        done = json.loads(self.finish(process).splitlines()[-1])
        self.assertEqual((done["files"], done["bytes_resumed"]), (1, 64 * MIB))
        self.check(self.ann.json("receipt", "verify", done["receipt"]), 0)

    def test_a_cap_is_heard_of_before_the_first_byte(self):
        self.daemon.stop()
        config = self.write("penstockd.toml", b'rate_cap = "200M"\n')
        self.daemon = self.serve(
            listen="127.0.0.1:%d" % self.daemon.port,
            extra=["--udp-advertise", "127.0.0.1:%d" % self.between.udp_port, "--config", config],
        )
        self.between.proof_passes.clear()
        process = self.start()
        wait_until(lambda: self.between.turn == Between.PROOF, "the proof")
        self.assertEqual(self.between.came, 0)
        self.between.proof_passes.set()
        self.finish(process)


if __name__ == "__main__":
    unittest.main()
