"""Killed at any moment, the same command again goes on: nothing durable is sent twice, nothing is lost."""

import os
import signal
import unittest

from lab import LabTest, sha256_file, wait_until

SIZE = 400 * 1000 * 1000
RATE = "400M"  # slow enough that a kill lands in the middle


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


if __name__ == "__main__":
    unittest.main()
