"""Killed at any moment, the same command again goes on: nothing durable is sent twice, nothing is lost."""

import os
import random
import signal
import time
import unittest

from lab import LabTest, sha256_file, wait_until

SIZE = 200 * 1000 * 1000
RATE = "200M"  # slow enough that a kill lands in the middle


class Resume(LabTest):
    def setUp(self):
        super().setUp()
        self.file = self.random_file("big", SIZE)

    def journal_grows(self, state):
        return lambda: self.durable_blocks(state)

    def check_resumed(self, outcome, copy):
        done = self.check(outcome, 0).last
        self.assertEqual(sha256_file(copy), sha256_file(self.file))
        self.assertGreater(done["bytes_resumed"], 0, outcome)
        self.assertEqual(done["bytes"], SIZE)
        self.assertEqual(done["bytes"], done["bytes_sent"] + done["bytes_resumed"] + done["bytes_skipped"])

    def test_push_after_the_client_was_killed(self):
        words = ("push", self.file, self.remote("/big"))
        process = self.ann.start(*words, "--rate", RATE)
        wait_until(self.journal_grows(self.daemon.state), "durable blocks")
        process.kill()
        process.communicate()
        self.assertFalse(os.path.exists(self.served("big")))
        self.check_resumed(self.ann.json(*words), self.served("big"))
        self.nothing_half_written(self.served())

    def test_push_after_the_daemon_was_killed_goes_on_by_itself(self):
        port = self.daemon.port
        process = self.ann.start("push", self.file, self.remote("/big"), "--rate", RATE, "--json")
        wait_until(self.journal_grows(self.daemon.state), "durable blocks")
        self.daemon.kill()
        self.serve(listen="127.0.0.1:%d" % port)
        stdout, stderr = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, stdout + stderr)
        self.assertEqual(sha256_file(self.served("big")), sha256_file(self.file))

    def test_push_after_both_were_killed(self):
        port = self.daemon.port
        words = ("push", self.file, self.remote("/big"))
        process = self.ann.start(*words, "--rate", RATE)
        wait_until(self.journal_grows(self.daemon.state), "durable blocks")
        process.kill()
        self.daemon.kill()
        process.communicate()
        self.serve(listen="127.0.0.1:%d" % port)
        self.check_resumed(self.ann.json(*words), self.served("big"))

    def test_pull_after_the_client_was_killed(self):
        os.rename(self.file, self.served("big"))
        self.file = self.served("big")
        words = ("pull", self.remote("/big"), self.path("copy"))
        process = self.ann.start(*words, "--rate", RATE)
        wait_until(self.journal_grows(self.ann.home), "durable blocks")
        process.kill()
        process.communicate()
        self.assertFalse(os.path.exists(self.path("copy")))
        self.check_resumed(self.ann.json(*words), self.path("copy"))
        self.nothing_half_written(self.path("."))

    def start_pull(self):
        os.rename(self.file, self.served("big"))
        self.file = self.served("big")
        words = ("pull", self.remote("/big"), self.path("copy"))
        process = self.ann.start(*words, "--rate", RATE, "--json")
        wait_until(self.journal_grows(self.ann.home), "durable blocks")
        return words, process

    def test_pull_after_the_daemon_was_killed_goes_on_by_itself(self):
        _, process = self.start_pull()
        self.daemon.kill()
        self.assertFalse(os.path.exists(self.path("copy")))
        self.serve(listen=self.daemon.address)
        stdout, stderr = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, stdout + stderr)
        self.assertEqual(sha256_file(self.path("copy")), sha256_file(self.file))
        self.nothing_half_written(self.path("."))

    def test_pull_after_both_were_killed(self):
        words, process = self.start_pull()
        process.kill()
        self.daemon.kill()
        process.communicate()
        self.serve(listen=self.daemon.address)
        self.check_resumed(self.ann.json(*words), self.path("copy"))
        self.nothing_half_written(self.path("."))

    def test_a_signal_ends_within_bounds_and_resumes(self):
        for number, exit in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            words = ("push", self.file, self.remote("/big%d" % exit))
            process = self.ann.start(*words, "--rate", RATE, "--json")
            wait_until(self.journal_grows(self.daemon.state), "durable blocks")
            process.send_signal(number)
            stdout, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, exit)
            self.assertIn(b'"INTERRUPTED"', stdout.splitlines()[-1])
            self.check_resumed(self.ann.json(*words), self.served("big%d" % exit))

    def test_no_resume_starts_afresh(self):
        words = ("push", self.file, self.remote("/big"))
        process = self.ann.start(*words, "--rate", RATE)
        wait_until(self.journal_grows(self.daemon.state), "durable blocks")
        process.kill()
        process.communicate()
        done = self.check(self.ann.json(*words, "--no-resume"), 0).last
        self.assertEqual(done["bytes_resumed"], 0)
        self.nothing_half_written(self.served())


class ResumeTree(LabTest):
    def test_files_finished_by_the_killed_run_count_as_resumed(self):
        for number in range(300):
            self.random_file("tree/%03d" % number, 500_000)
        words = ("push", self.path("tree"), self.remote("/tree"))
        process = self.ann.start(*words, "--rate", "200M")
        wait_until(lambda: os.path.exists(self.served("tree/020")), "some files to finish")
        process.kill()
        process.communicate()
        done = self.check(self.ann.json(*words), 0).last
        self.assert_equal_trees(self.path("tree"), self.served("tree"))
        self.assertGreaterEqual(done["bytes_resumed"], 500_000)
        self.assertEqual(done["files"], 300)
        self.assertEqual(done["bytes"], done["bytes_sent"] + done["bytes_resumed"] + done["bytes_skipped"])


class LostEnd(LabTest):
    """The daemon has committed, and the client never knew: the same command resumes to a receipt."""

    def setUp(self):
        super().setUp()
        for number in range(40):
            self.random_file("tree/%02d" % number, 100_000)
        self.tree = self.path("tree")

    def lose_the_end(self, *words):
        """A push whose client fails at the very last step, when the receipt would be stored."""
        receipts = os.path.join(self.ann.home, "receipts")
        self.write(receipts)
        outcome = self.ann.json("push", *words)
        self.assertNotEqual(outcome.exit, 0, outcome)
        os.unlink(receipts)

    def test_a_client_killed_at_any_moment_around_the_commit_finishes_when_repeated(self):
        luck = random.Random(2607)
        begun = time.monotonic()
        self.check(self.push(self.tree, self.remote("/first")), 0)
        lasted = time.monotonic() - begun
        for number in range(24):
            words = ("push", self.tree, self.remote("/t%d" % number))
            process = self.ann.start(*words, "--json")
            wait_until(lambda: os.path.exists(self.served("t%d" % number)) or process.poll() is not None, "the transfer")
            # Not a promise about time: only where, in a run that takes about so long, the kill may fall.
            time.sleep(luck.random() * lasted / 2)
            ended = process.poll()
            process.kill()
            stdout, _ = process.communicate()
            if ended is not None or b'"event":"done"' in stdout:
                self.assertIn(ended, (None, 0), stdout)
                continue  # it has told its end; what follows is another command
            done = self.check(self.ann.json(*words), 0).last
            self.assertEqual(done["files"], 40)
            self.assertEqual(done["bytes"], 4_000_000)
            self.check(self.ann.json("receipt", "check", done["receipt"], self.served("t%d" % number)), 0)
            self.assert_equal_trees(self.tree, self.served("t%d" % number))
        self.nothing_half_written(self.served())

    def test_the_same_command_gets_a_receipt_and_sends_nothing(self):
        words = (self.tree, self.remote("/there"))
        self.lose_the_end(*words)
        done = self.check(self.push(*words), 0).last
        self.assertEqual((done["bytes_resumed"], done["bytes_sent"]), (4_000_000, 0))
        self.check(self.ann.json("receipt", "verify", done["receipt"]), 0)
        journals = os.path.join(self.daemon.state, "journals")
        wait_until(lambda: not [n for n in os.listdir(journals) if n.endswith(".journal")], "the journal's end")
        # Now it is over, and what exists is a conflict as ever.
        self.check(self.push(*words), 6, "FILE_EXISTS")

    def test_a_receipt_longer_than_a_message_arrives_whole(self):
        for number in range(9_000):
            self.write("many/%s%05d" % ("n" * 100, number), b"x")
        words = (self.path("many"), self.remote("/many"))
        self.lose_the_end(*words)
        done = self.check(self.push(*words), 0).last
        self.assertEqual(done["files"], 9_000)
        self.check(self.ann.json("receipt", "check", done["receipt"], self.served("many")), 0)

    def test_what_is_new_since_is_all_that_is_sent(self):
        words = (self.tree, self.remote("/there"))
        self.lose_the_end(*words)
        self.write("tree/new", b"came later")
        done = self.check(self.push(*words), 0).last
        self.assertEqual((done["bytes_resumed"], done["bytes_sent"]), (4_000_000, 10))
        self.assert_equal_trees(self.tree, self.served("there"))

    def test_no_resume_does_not_look_back(self):
        words = (self.tree, self.remote("/there"))
        self.lose_the_end(*words)
        done = self.check(self.push(*words, "--no-resume"), 0).last
        self.assertEqual(done["bytes_resumed"], 0)
        self.assert_equal_trees(self.tree, self.served("there"))


if __name__ == "__main__":
    unittest.main()
