"""A pull begins before the daemon has answered the client's proof (control/client/README, "Ahead of the answer"): in
whatever order proof, hello, answer and data arrive, and whichever is lost.
"""

import filecmp
import json
import os
import signal
import unittest

from between import Between
from lab import PATIENCE, LabTest, Outcome, Person, program, wait_until

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

    def start_daemon(self, *extra, listen=None):
        advertise = "127.0.0.1:%d" % self.between.udp_port
        self.daemon = self.serve(listen=listen, extra=["--udp-advertise", advertise, *extra])
        self.between.target = ("127.0.0.1", self.daemon.port)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.between.tcp_port

    def start(self, *words, person=None, target=None):
        self.between.came = self.between.back_came = self.between.passed = 0
        self.between.answered = False
        process = (person or self.ann).start("pull", self.address + ":/file", target or self.target, "--json", *words)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def until_ahead(self, *words, person=None):
        """A pull that is ahead of the daemon's answer, which is held back."""
        self.between.answer_passes.clear()
        process = self.start(*words, person=person)
        wait_until(lambda: self.between.came >= 1, "a hello ahead of the answer")
        return process

    def refused(self, process, exit, name):
        """With the answer, which is here now."""
        self.between.answer_passes.set()
        return self.check(Outcome(process, *process.communicate(timeout=PATIENCE)), exit, name)

    def finish(self, process):
        stdout, stderr = process.communicate(timeout=PATIENCE)
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

    def test_a_hello_before_the_proof_brings_nothing_and_counts_once_it_is_there(self):
        self.between.proof_passes.clear()
        process = self.start()
        wait_until(lambda: self.between.passed >= 3, "hellos at the daemon ahead of the proof")
        self.between.datagrams_pass.clear()
        self.assertIsNone(process.poll())
        self.assertEqual(self.between.back_came, 0)  # nothing is answered
        self.assertEqual(self.daemon.log_events("transfer_started"), [])
        self.between.proof_passes.set()
        wait_until(lambda: self.between.back_came >= 1, "data, to where the hello came from that was kept")
        self.between.datagrams_pass.set()
        self.finish(process)

    def test_the_proof_before_the_hello(self):
        self.between.datagrams_pass.clear()
        process = self.until_ahead()
        wait_until(lambda: self.daemon.log_events("transfer_started"), "the transfer at the daemon")
        self.assertEqual(self.between.back_came, 0)  # it does not know where to
        self.between.datagrams_pass.set()
        wait_until(lambda: self.between.back_came >= 1, "data, ahead of the answer")
        self.between.answer_passes.set()
        self.finish(process)

    def test_the_first_hello_lost(self):
        self.between.drop = 1
        process = self.until_ahead()
        wait_until(lambda: self.between.back_came >= 1, "data by another hello, ahead of the answer")
        self.assertEqual(self.between.drop, 0)
        self.between.answer_passes.set()
        self.finish(process)

    def test_data_before_the_answer_leaves_no_trace_and_counts_once_that_is_there(self):
        self.between.answer_passes.clear()
        process = self.start()
        wait_until(lambda: self.between.back_came >= 20 and self.between.came >= 2, "data, and acknowledgements of it")
        self.assertIsNone(process.poll())
        self.assertEqual(os.listdir(self.landing), [])
        self.between.answer_passes.set()
        done = self.finish(process)
        self.assertEqual((done["bytes_sent"], done["bytes_resumed"]), (MIB, 0))

    def test_without_the_answer_nothing_stays_that_the_same_command_could_meet(self):
        self.between.answer_passes.clear()
        process = self.start()
        wait_until(lambda: self.between.back_came >= 20, "data ahead of the answer")
        process.kill()
        process.wait()
        self.assertEqual(os.listdir(self.landing), [])
        self.assertEqual(len(self.journals(self.ann)), 1)  # which the same command takes up
        self.between.answer_passes.set()
        done = self.finish(self.start())
        self.assertEqual(done["bytes_resumed"], 0)

    def test_a_refusal_leaves_nothing_behind(self):
        os.mkdir(self.served("granted"))
        reader = Person(self, "bob")
        outcome = reader.register_at(self.address, self.daemon.token("bob", ("r:/granted",)))
        self.assertEqual(outcome.exit, 0, outcome)
        process = self.until_ahead(person=reader)
        self.assertEqual(len(self.journals(reader)), 1)  # else there is nothing to clean up
        self.refused(process, 5, "PERMISSION_DENIED")
        self.assertEqual(os.listdir(self.landing), [])
        self.assertEqual(self.journals(reader), [])

    def test_an_end_of_our_own_leaves_nothing_behind(self):
        process = self.until_ahead()
        process.send_signal(signal.SIGINT)
        self.check(Outcome(process, *process.communicate(timeout=PATIENCE)), 130, "INTERRUPTED")
        self.assertEqual((os.listdir(self.landing), self.journals(self.ann)), ([], []))
        # No room for a journal: told once the daemon has answered.
        self.ann.prefix = ["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]
        process = self.start()
        self.refused(process, 1, "IO_ERROR")
        self.assertEqual((os.listdir(self.landing), self.journals(self.ann)), ([], []))
        # Nor is it in the way of the next.
        self.ann.prefix = []
        self.finish(self.start())

    def test_what_an_earlier_run_left_is_taken_up_ahead_of_the_answer(self):
        self.source = self.random_file("root/file", 96 * MIB)
        process = self.start("--rate", "100M")  # slow enough that the kill lands in the middle
        wait_until(lambda: self.durable_blocks(self.ann.home, 500), "durable blocks")
        process.kill()
        process.wait()
        self.between.proof_passes.clear()
        process = self.start()
        wait_until(lambda: self.between.came >= 1, "a hello ahead of the proof")
        self.between.proof_passes.set()
        done = self.finish(process)
        self.assertGreater(done["bytes_resumed"], 0)
        self.assertEqual(done["bytes_sent"] + done["bytes_resumed"], 96 * MIB)

    def test_a_target_that_is_there_stays(self):
        self.write(self.target, b"mine")
        self.refused(self.until_ahead(), 6, "FILE_EXISTS")
        with open(self.target, "rb") as kept:
            self.assertEqual(kept.read(), b"mine")
        self.assertEqual(os.listdir(self.landing), ["file"])

    def test_the_same_command_twice_while_the_first_is_ahead(self):
        sessions = len(self.daemon.log_events("session_opened"))
        self.between.proof_passes.clear()
        first = self.start("--rate", "200k")  # so that it does not end by itself
        wait_until(lambda: self.between.came >= 1, "a hello ahead of the proof")
        self.assertEqual(len(self.journals(self.ann)), 1)
        # By the daemon's own port, and without datagrams, of which the one between knows one client's alone.
        second = self.ann.start("pull", self.daemon.address + ":/file", self.target, "--json", "--data", "tcp")
        self.addCleanup(second.kill)
        wait_until(lambda: len(self.daemon.log_events("session_opened")) > sessions, "the second one's session")
        self.between.proof_passes.set()
        self.check(Outcome(first, *first.communicate(timeout=PATIENCE)), 1, "TRANSFER_ACTIVE")
        self.finish(second)

    def test_our_own_side_may_open_slowly(self):
        self.source = self.random_file("root/file", 96 * MIB)
        slow_calls = os.path.abspath(program("penstock-slow-calls.so"))
        self.assertTrue(os.path.exists(slow_calls))  # else nothing would be slow, and all be well
        slow = {"LD_PRELOAD": slow_calls, "SLOW_JOURNAL": "4"}  # seconds, and the handshake gets three
        # The address sanitizer's own library then comes second.
        slow["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        limit = ("--connect-timeout", "3s")
        # One that is made, ahead of the answer, and one that is found, before the proof.
        process = self.ann.start("pull", self.address + ":/file", self.target, "--json", "--rate", "100M", *limit, environment=slow)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        wait_until(lambda: self.durable_blocks(self.ann.home, 500), "durable blocks")
        process.kill()
        process.wait()
        found = self.ann.start("pull", self.address + ":/file", self.target, "--json", *limit, environment=slow)
        done = self.finish(found)
        self.assertGreater(done["bytes_resumed"], 0)

    def test_where_nothing_may_be_ahead_the_request_still_leaves_with_the_proof(self):
        self.daemon.stop()
        config = self.write("penstockd.toml", b'rate_cap = "200M"\n')
        self.start_daemon("--config", config, "--log-format", "json", listen="127.0.0.1:%d" % self.daemon.port)
        self.between.answer_passes.clear()
        process = self.start()
        wait_until(lambda: self.daemon.log_events("transfer_started"), "the transfer, before the client hears anything")
        self.assertEqual(self.between.came, 0)  # nor says more
        self.between.answer_passes.set()
        self.finish(process)


if __name__ == "__main__":
    unittest.main()
