"""The daemon's benchmark mode: bytes go, nothing is stored, and nobody can take it for a success."""

import os

from lab import LabTest


class Discard(LabTest):
    with_daemon = False

    def setUp(self):
        super().setUp()
        self.daemon = self.serve(extra=["--discard"])
        self.register(self.ann)

    def files_beneath(self, top):
        return [os.path.join(place, name) for place, _, files in os.walk(top) for name in files]

    def test_the_log_says_it_before_the_daemon_is_ready(self):
        ready = next(i for i, line in enumerate(self.daemon.log) if line.startswith("listening on"))
        warned = [line for line in self.daemon.log[:ready] if "discarding" in line]
        self.assertEqual(len(warned), 1, self.daemon.log)
        self.assertIn("warning", warned[0])
        self.assertIn("nothing is stored", warned[0])

    def test_a_large_file_goes_no_file_appears_and_the_client_says_so(self):
        file = self.random_file("big", 40 * 1024 * 1024 + 17)
        pushed = self.check(self.push(file, self.remote("/big")), 10, "PARTIAL")
        self.assertIs(pushed.last["discarded"], True)
        self.assertEqual(pushed.last["bytes_sent"], 40 * 1024 * 1024 + 17)
        self.assertGreater(pushed.last["goodput_bps"], 0)
        self.assertIsNone(pushed.last["receipt"])
        self.assertIsNone(pushed.last["digest"])
        self.assertIn("nothing is stored", pushed.last["message"])
        self.assertEqual(len(pushed.events("warning")), 1, pushed)
        self.assertEqual(self.files_beneath(self.daemon.root), [])
        self.assertEqual(self.files_beneath(os.path.join(self.daemon.state, "journals")), [])
        self.assertEqual(self.check(self.ann.json("receipt", "list"), 0).events("entry"), [])
        self.assertFalse(os.path.exists(os.path.join(self.daemon.root, "big")))

    def test_people_read_it_twice(self):
        file = self.write("f", b"x" * 100000)
        pushed = self.ann.run("push", file, self.remote("/f"))
        self.assertEqual(pushed.exit, 10, pushed)
        self.assertIn("discarded 1 file", pushed.stderr)
        self.assertGreaterEqual(pushed.stderr.count("nothing is stored"), 2, pushed)

    def test_a_tree_of_small_files_goes(self):
        for i in range(300):
            self.write("tree/%d/f" % i, b"x" * i)
        pushed = self.check(self.push(self.path("tree"), self.remote("/tree")), 10, "PARTIAL")
        self.assertEqual(pushed.last["files"], 300)
        self.assertEqual(pushed.last["bytes"], sum(range(300)))
        self.assertEqual(os.listdir(self.daemon.root), [])

    def test_a_dry_run_and_a_pull_are_what_they_are_elsewhere(self):
        file = self.write("f", b"x")
        self.write(self.served("g"), b"kept")
        dry = self.check(self.push("-n", file, self.remote("/f")), 0)
        self.assertNotIn("discarded", dry.last)
        pulled = self.check(self.pull(self.remote("/g"), self.path("g")), 0)
        self.assertNotIn("discarded", pulled.last)
        self.assertTrue(os.path.exists(pulled.last["receipt"]))


class Off(LabTest):
    def test_nothing_is_discarded_by_default(self):
        file = self.write("f", b"x")
        pushed = self.check(self.push(file, self.remote("/f")), 0)
        self.assertNotIn("discarded", pushed.last)
        self.assertFalse(self.daemon.logged("discarding"))
        self.assertTrue(os.path.exists(self.served("f")))
