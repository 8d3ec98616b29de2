"""Trees and sizes, both ways: what arrives is what was sent, where the command's words say."""

import os
import subprocess
import unittest

from lab import LabTest, sha256_file


class Trees(LabTest):
    def odd_tree(self, name="tree"):
        top = self.path(name)
        self.write(name + "/empty")
        self.write(name + "/with space", b"x")
        self.write(name + "/-dash", b"x")
        self.write(name + "/new\nline", b"x")
        self.write(name + "/grün", b"x")
        with open(os.fsencode(top) + b"/not\xffutf8", "wb") as out:
            out.write(b"x")
        self.write(name + "/read-only", b"x", 0o444)
        self.write(name + "/script", b"#!/bin/sh\n", 0o755)
        self.write(name + "/sub.b", b"sorts after sub/ by components, before it by bytes")
        self.write(name + "/sub/x", b"y" * 1048577)
        os.makedirs(top + "/hollow/within")
        os.symlink("/etc/passwd", top + "/absolute")
        os.symlink("../../../nowhere", top + "/sub/dangling")
        os.symlink(b"raw\xfe", os.fsencode(top) + b"/raw link")
        deep = top
        for _ in range(200):
            deep = os.path.join(deep, "d")
            os.mkdir(deep)
        self.write(deep + "/bottom", b"deep")
        os.utime(top + "/with space", ns=(1, 1_234_567_890_123_456_789))
        os.utime(top + "/hollow", ns=(1, 987_654_321_012_345_678))
        return top

    def test_an_odd_tree_survives_both_ways(self):
        top = self.odd_tree()
        pushed = self.check(self.push(top, self.remote("/there")), 0)
        self.assert_equal_trees(top, self.served("there"))
        pulled = self.check(self.pull(self.remote("/there"), self.path("back")), 0)
        self.assert_equal_trees(top, self.path("back"))
        for outcome, where in ((pushed, self.served("there")), (pulled, self.path("back"))):
            done = outcome.last
            self.assertEqual(done["bytes"], done["bytes_sent"] + done["bytes_resumed"] + done["bytes_skipped"])
            self.check(self.ann.json("receipt", "verify", done["receipt"]), 0)
            self.check(self.ann.json("receipt", "check", done["receipt"], where), 0)
        self.nothing_half_written(self.served())

    def test_sizes_around_every_boundary(self):
        top = self.path("sizes")
        for size in (0, 1, 1024, 8191, 8192, 8193, 1048575, 1048576, 1048577, 3 * 1048576):
            self.random_file("sizes/%d" % size, size)
        self.check(self.push(top, self.remote("/sizes"), "--digest", "sha256"), 0)
        self.assert_equal_trees(top, self.served("sizes"))

    def test_sha256sum_agrees_with_the_receipt(self):
        file = self.random_file("blob", 5_000_001)
        pushed = self.check(self.push(file, self.remote("/blob"), "--digest", "sha256"), 0)
        self.assertEqual(pushed.last["digest"], "sha256:" + sha256_file(file))
        sums = self.ann.run("receipt", "show", pushed.last["transfer"], "--sums")
        self.assertEqual(sums.exit, 0, sums)
        checked = subprocess.run(["sha256sum", "-c", "-"], cwd=self.served(), input=sums.stdout, capture_output=True)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr + sums.stdout)

    def test_a_sparse_file_keeps_its_holes(self):
        file = self.path("sparse")
        with open(file, "wb") as out:
            out.truncate(1 << 30)
            out.seek(700_000_000)
            out.write(b"island")
        self.check(self.push(file, self.remote("/sparse")), 0)
        self.assertEqual(os.stat(self.served("sparse")).st_size, 1 << 30)
        self.assertLess(os.stat(self.served("sparse")).st_blocks * 512, 1 << 26)
        with open(self.served("sparse"), "rb") as copy:
            copy.seek(700_000_000)
            self.assertEqual(copy.read(6), b"island")

    def test_shuffled_chunks_make_the_same_file(self):
        file = self.random_file("blob", 20_000_000)
        settings = self.write("shuffled.toml", b'[defaults]\nchunk_order = "shuffled"\n')
        self.check(self.push(file, self.remote("/blob"), "--config", settings), 0)
        self.assertEqual(sha256_file(file), sha256_file(self.served("blob")))


class Landing(LabTest):
    def setUp(self):
        super().setUp()
        self.file = self.write("src/file", b"file")
        self.tree = self.path("src/tree")
        self.write("src/tree/inner", b"inner")

    def test_a_directory_takes_the_name_of_dest_or_goes_inside(self):
        self.check(self.push(self.tree, self.remote("/a/b/named")), 0)
        self.assertTrue(os.path.isfile(self.served("a/b/named/inner")))
        self.check(self.push(self.tree + "/", self.remote("/box/")), 0)
        self.assertTrue(os.path.isfile(self.served("box/tree/inner")))
        self.check(self.push(self.tree + "/.", self.remote("/contents")), 0)
        self.assertTrue(os.path.isfile(self.served("contents/inner")))

    def test_a_file_goes_into_a_directory_that_exists(self):
        os.mkdir(self.served("there"))
        self.check(self.push(self.file, self.remote("/there")), 0)
        self.assertTrue(os.path.isfile(self.served("there/file")))
        self.check(self.push(self.file, self.remote("/other")), 0)
        self.assertTrue(os.path.isfile(self.served("other")))

    def test_several_sources_need_a_directory(self):
        self.check(self.push(self.file, self.tree, self.remote("/x")), 2, "USAGE")
        self.check(self.push(self.file, self.tree, self.remote("/x/")), 0)
        self.assertTrue(os.path.isfile(self.served("x/file")))
        self.assertTrue(os.path.isfile(self.served("x/tree/inner")))

    def test_two_sources_of_one_name_are_told_before_connecting(self):
        other = self.write("else/file", b"2")
        self.check(self.push(self.file, other, "127.0.0.1:1:/x/"), 2, "USAGE")

    def test_a_directory_onto_one_that_exists_is_a_conflict_that_names_the_way_out(self):
        os.mkdir(self.served("tree"))
        outcome = self.check(self.push(self.tree, self.remote("/tree")), 6, "FILE_EXISTS")
        self.assertIn("/", outcome.last["message"])
        self.check(self.push(self.tree, self.remote("/tree"), "--overwrite", "skip"), 0)
        self.assertTrue(os.path.isfile(self.served("tree/inner")))

    def test_a_source_that_is_a_link_is_followed_and_links_inside_are_kept(self):
        os.symlink(self.tree, self.path("alias"))
        os.symlink("inner", self.tree + "/soft")
        self.check(self.push(self.path("alias"), self.remote("/by-alias")), 0)
        self.assertTrue(os.path.islink(self.served("by-alias/soft")))
        self.assertFalse(os.path.islink(self.served("by-alias")))

    def test_pull_lands_by_the_same_rules(self):
        self.write(self.served("d/inner"), b"1")
        self.write(self.served("f"), b"2")
        self.check(self.pull(self.remote("/d"), self.remote("/f"), self.path("into/")), 0)
        self.assertTrue(os.path.isfile(self.path("into/d/inner")))
        self.assertTrue(os.path.isfile(self.path("into/f")))
        self.check(self.pull(self.remote("/f"), self.path("into")), 6, "FILE_EXISTS")
        self.check(self.pull(self.remote("/d"), self.path("named/deep")), 0)
        self.assertTrue(os.path.isfile(self.path("named/deep/inner")))


class Overwriting(LabTest):
    def setUp(self):
        super().setUp()
        self.write("src/same", b"same")
        self.write("src/newer", b"after")
        self.write("src/fresh", b"fresh")
        self.check(self.push(self.path("src"), self.remote("/dst")), 0)
        os.unlink(self.served("dst/fresh"))
        self.write("src/newer", b"AFTER")
        os.utime(self.path("src/newer"), ns=(1, 1_500_000_000_000_000_000))

    def contents(self, name):
        with open(self.served("dst", name), "rb") as file:
            return file.read()

    def test_never_stops_at_the_first_conflict(self):
        self.check(self.push(self.path("src/."), self.remote("/dst")), 6, "FILE_EXISTS")
        self.assertEqual(self.contents("newer"), b"after")
        self.assertEqual(self.contents("same"), b"same")

    def test_skip_leaves_what_exists_alone(self):
        done = self.check(self.push(self.path("src/."), self.remote("/dst"), "--overwrite", "skip"), 0).last
        self.assertEqual(self.contents("newer"), b"after")
        self.assertEqual(self.contents("fresh"), b"fresh")
        self.assertEqual(done["files_skipped"], 2)
        self.assertEqual(done["bytes"], done["bytes_sent"] + done["bytes_resumed"] + done["bytes_skipped"])

    def test_changed_replaces_what_differs(self):
        os.chmod(self.path("src/same"), 0o600)
        done = self.check(self.push(self.path("src/."), self.remote("/dst"), "--overwrite", "changed"), 0).last
        self.assertEqual(self.contents("newer"), b"AFTER")
        self.assertEqual(os.stat(self.served("dst/same")).st_mode & 0o777, 0o600)
        self.assertEqual(done["bytes_sent"], 10)

    def test_always_replaces_everything_and_a_link_is_replaced_not_followed(self):
        outside = self.write("outside", b"untouched")
        os.unlink(self.served("dst/same"))
        os.symlink(outside, self.served("dst/same"))
        self.check(self.push(self.path("src/."), self.remote("/dst"), "--overwrite", "always"), 0)
        self.assertEqual(self.contents("same"), b"same")
        self.assertFalse(os.path.islink(self.served("dst/same")))
        with open(outside, "rb") as file:
            self.assertEqual(file.read(), b"untouched")

    def actions(self, outcome):
        self.check(outcome, 0)
        return {os.path.basename(line["path"]): line["action"] for line in outcome.events("file")}

    def test_verbose_names_what_is_sent_skipped_and_replaced(self):
        back = self.path("back")
        self.check(self.pull(self.remote("/dst"), back), 0)
        os.unlink(back + "/same")
        for mode, others in (("skip", "skip"), ("always", "replace")):
            pushed = self.push(self.path("src/."), self.remote("/dst"), "--overwrite", mode, "-v")
            self.assertEqual(self.actions(pushed), {"fresh": "send", "same": others, "newer": others}, pushed)
            os.unlink(self.served("dst/fresh"))
            pulled = self.pull(self.remote("/dst/."), back, "--overwrite", mode, "-v")
            self.assertEqual(self.actions(pulled), {"same": "send", "newer": others}, pulled)
            os.unlink(back + "/same")

    def test_a_conflict_of_the_only_file_leaves_nothing_behind(self):
        self.random_file("blob", 5_000_000)
        self.write(self.served("blob"), b"mine")
        self.write("mine", b"mine")
        self.check(self.push(self.path("blob"), self.remote("/blob")), 6, "FILE_EXISTS")
        self.check(self.pull(self.remote("/dst/same"), self.path("mine")), 6, "FILE_EXISTS")
        self.nothing_half_written(self.served())
        self.nothing_half_written(self.dir)
        for state in (self.daemon.state, self.ann.home):
            self.assertEqual([name for name in os.listdir(state + "/journals") if name.endswith(".journal")], [])

    def test_a_file_against_a_directory_is_a_type_conflict(self):
        os.unlink(self.served("dst/same"))
        os.mkdir(self.served("dst/same"))
        for mode in ("changed", "always", "skip"):
            self.check(self.push(self.path("src/."), self.remote("/dst"), "--overwrite", mode), 6, "TYPE_CONFLICT")
        self.assertTrue(os.path.isdir(self.served("dst/same")))

    def test_dry_run_changes_nothing_and_says_what_it_would_do(self):
        outcome = self.check(self.push(self.path("src/."), self.remote("/dst"), "--overwrite", "skip", "-n"), 0)
        actions = {line["path"]: line["action"] for line in outcome.events("file") if line["path"]}
        self.assertEqual(actions.get("fresh"), "send", outcome)
        self.assertEqual(actions.get("newer"), "skip", outcome)
        self.assertFalse(os.path.exists(self.served("dst/fresh")))
        for outcome in (
            self.push(self.path("src/."), self.remote("/dst"), "-n"),
            self.pull(self.remote("/dst/."), self.path("src"), "-n"),
        ):
            self.check(outcome, 6, "FILE_EXISTS")
            self.assertIn("refuse", [line["action"] for line in outcome.events("file")])


if __name__ == "__main__":
    unittest.main()
