"""Where links lead, and what becomes of sources and targets that are not as the words say."""

import os
import signal

from lab import LabTest, Person, wait_until


class Links(LabTest):
    def setUp(self):
        super().setUp()
        self.mal = Person(self, "mal")
        self.register(self.mal, user="mal", grants=("rw:/mal",))
        self.write(self.served("priv/secret"), b"secret", 0o600)

    def warnings(self, outcome):
        return {os.path.basename(line["path"]): (line["name"], line["message"]) for line in outcome.events("warning")}

    def test_follow_does_not_read_outside_the_grant(self):
        self.write("ex/own", b"own")
        os.symlink("../../priv", self.path("ex/steal"))
        os.symlink("../../priv/secret", self.path("ex/secret"))
        os.symlink("/etc/passwd", self.path("ex/passwd"))
        self.check(self.push(self.path("ex"), self.remote("/mal/ex"), person=self.mal), 0)
        self.check(self.pull(self.remote("/priv/secret"), self.path("x"), person=self.mal), 5, "PERMISSION_DENIED")
        outcome = self.pull(self.remote("/mal/ex"), self.path("stolen"), "--links", "follow", person=self.mal)
        self.check(outcome, 10, "PARTIAL")
        self.assertEqual(os.listdir(self.path("stolen")), ["own"])
        warnings = self.warnings(outcome)
        self.assertEqual(set(warnings), {"steal", "secret", "passwd"})
        for name, (code, message) in warnings.items():
            self.assertEqual(code, "PATH_REFUSED")
            self.assertIn("/mal/ex/" + name + " is a link that leads out of what is granted", message)

    def test_follow_takes_what_stays_beneath_the_grant(self):
        self.write(self.served("mal/data/f"), b"f")
        self.write(self.served("mal/ex/own"), b"own")
        os.symlink("../data", self.served("mal/ex/data"))
        os.symlink("..", self.served("mal/ex/up"))
        outcome = self.pull(self.remote("/mal/ex"), self.path("got"), "--links", "follow", person=self.mal)
        self.check(outcome, 10, "PARTIAL")
        self.assertEqual(sorted(os.listdir(self.path("got"))), ["data", "own", "up"])
        self.assertEqual(os.listdir(self.path("got/up")), ["data"])
        with open(self.path("got/data/f"), "rb") as file:
            self.assertEqual(file.read(), b"f")
        self.assertEqual(set(self.warnings(outcome)), {"ex"})

    def test_a_source_that_is_a_link_is_followed_within_the_grant(self):
        self.write(self.served("mal/d/f"), b"f")
        os.symlink("f", self.served("mal/d/kept"))
        os.symlink("d", self.served("mal/ld"))
        for number, word in enumerate(("/mal/ld", "/mal/ld/.")):
            got = self.path("got%d" % number)
            done = self.check(self.pull(self.remote(word), got, person=self.mal), 0).last
            self.assertEqual(done["files"], 1)
            self.assertFalse(os.path.islink(got))
            self.assertEqual(os.readlink(os.path.join(got, "kept")), "f")
        for target in ("../priv", "/etc", "../mal/d"):
            os.symlink(target, self.served("mal/out"))
            for word in ("/mal/out", "/mal/out/."):
                refused = self.check(self.pull(self.remote(word), self.path("no"), person=self.mal), 5, "PATH_REFUSED")
                self.assertIn("/mal/out is a link that leads out of what is granted", refused.last["message"])
            os.unlink(self.served("mal/out"))
        self.check(self.pull(self.remote("/mal/ld/f"), self.path("no"), person=self.mal), 5, "PATH_REFUSED")
        self.assertFalse(os.path.lexists(self.path("no")))

    def test_a_push_follows_links_anywhere_on_our_own_machine(self):
        self.write("beside/f", b"f")
        os.makedirs(self.path("lf"))
        os.symlink(self.path("beside"), self.path("lf/absolute"))
        os.symlink("../beside/f", self.path("lf/file"))
        self.check(self.push(self.path("lf"), self.remote("/lf"), "--links", "follow"), 0)
        self.assertEqual(sorted(os.listdir(self.served("lf"))), ["absolute", "file"])
        os.symlink("nothing", self.path("lf/dangling"))
        os.symlink(".", self.path("lf/circle"))
        outcome = self.push(self.path("lf"), self.remote("/lf2"), "--links", "follow")
        self.check(outcome, 10, "PARTIAL")
        warnings = self.warnings(outcome)
        self.assertIn("No such file or directory", warnings["dangling"][1])
        self.assertIn("leads back to a directory above it", warnings["circle"][1])
        self.assertEqual(sorted(os.listdir(self.served("lf2"))), ["absolute", "file"])


class Sources(LabTest):
    def test_one_that_can_not_be_sent_is_a_warning_among_several_and_an_error_alone(self):
        for push in (True, False):
            place = self.path("here") if push else self.served("there")
            self.write(os.path.join(place, "ok"), b"ok")
            os.mkfifo(os.path.join(place, "fifo"))
            word = (lambda name: self.path("here", name)) if push else (lambda name: self.remote("/there/" + name))
            move, target, landed = (
                (self.push, self.remote("/t/"), self.served("t")) if push else (self.pull, self.path("t/"), self.path("t"))
            )
            self.check(move(word("fifo"), target), 5, "SPECIAL_FILE")
            missing = self.check(move(word("ok"), word("nothing"), target), 5, "NOT_FOUND")
            self.assertIn("nothing", missing.last["message"])
            self.assertFalse(os.path.exists(os.path.join(landed, "ok")))
            outcome = self.check(move(word("fifo"), word("ok"), target), 10, "PARTIAL")
            self.assertEqual([line["name"] for line in outcome.events("warning")], ["SPECIAL_FILE"])
            self.assertEqual(os.listdir(landed), ["ok"])


class Anew(LabTest):
    def test_no_resume_sends_a_killed_run_s_tree_anew_and_loses_nothing_on_the_way(self):
        for number in range(40):
            self.random_file("many/%03d" % number, 400_000)
        words = ("push", self.path("many"), self.remote("/many"))
        process = self.ann.start(*words, "--rate", "40M")
        wait_until(lambda: os.path.exists(self.served("many/000")), "a published file")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done = self.check(self.ann.json(*words, "--no-resume"), 0).last
        self.assertEqual((done["bytes_resumed"], done["bytes_sent"]), (0, 40 * 400_000))
        self.assert_equal_trees(self.path("many"), self.served("many"))
        self.nothing_half_written(self.served())
        self.check(self.ann.json(*words), 6, "FILE_EXISTS")


class Grants(LabTest):
    def test_a_drop_box_can_be_filled_up_with_skip(self):
        box = Person(self, "box")
        self.register(box, user="box", grants=("w:/box",))
        os.makedirs(self.served("box"))
        self.write("d/a", b"a")
        self.check(self.push(self.path("d"), self.remote("/box/d"), "--overwrite", "skip", person=box), 0)
        self.write("d/a", b"changed")
        self.write("d/b", b"b")
        done = self.check(self.push(self.path("d"), self.remote("/box/d"), "--overwrite", "skip", person=box), 0).last
        self.assertEqual((done["files"], done["files_skipped"]), (1, 1))
        with open(self.served("box/d/a"), "rb") as file:
            self.assertEqual(file.read(), b"a")
        for overwrite in ("changed", "always"):
            refused = self.push(self.path("d"), self.remote("/box/d"), "--overwrite", overwrite, person=box)
            self.check(refused, 5, "PERMISSION_DENIED")
