"""The command line's promises about single commands: what scripts see of names, errors and listings."""

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import termios

from lab import Daemon, LabTest, Person, program, wait_until


class Commands(LabTest):
    def message(self, outcome):
        return outcome.last["message"]

    def test_rm_of_a_full_directory_says_the_path_and_the_way_out(self):
        self.write(self.served("in/full/x"), b"x")
        refused = self.check(self.ann.json("rm", self.remote("/in/full")), 5, "IS_A_DIRECTORY")
        self.assertIn("/in/full", self.message(refused))
        self.assertIn("rm -r", self.message(refused))
        self.assertEqual(refused.last["path"], "/in/full")
        self.assertTrue(os.path.exists(self.served("in/full/x")))
        self.check(self.ann.json("rm", "-r", self.remote("/in/full")), 0)
        self.assertFalse(os.path.exists(self.served("in/full")))

    def test_errors_name_whole_paths(self):
        self.write(self.served("f"), b"x")
        for words, exit, name, part in (
            (["ls", self.remote("/no")], 5, "NOT_FOUND", " /no"),
            (["stat", self.remote("/f/x")], 5, "NOT_A_DIRECTORY", " /f"),
            (["mkdir", self.remote("/a/b")], 5, "NOT_FOUND", " /a"),
            (["mkdir", self.remote("/f")], 6, "FILE_EXISTS", "/f exists already"),
            (["mv", self.remote("/no"), "/x"], 5, "NOT_FOUND", " /no"),
            (["digest", self.remote("/")], 5, "IS_A_DIRECTORY", " /"),
        ):
            outcome = self.check(self.ann.json(*words), exit, name)
            self.assertIn(part, self.message(outcome))

    def test_what_a_message_escapes_is_escaped_once(self):
        outcome = self.check(self.ann.json("stat", self.remote("/no\x1b[2J")), 5, "NOT_FOUND")
        self.assertIn("/no\\x1b[2J", self.message(outcome))
        self.assertNotIn("\\\\", self.message(outcome))
        self.assertEqual(outcome.last["path"], "/no\x1b[2J")
        self.assertNotIn("\x1b", outcome.stderr)

    def test_stat_names_the_thing_as_ls_does(self):
        self.write(self.served("in/f"), b"x")
        entry = self.check(self.ann.json("stat", self.remote("/in/f")), 0).events("entry")[0]
        listed = self.check(self.ann.json("ls", self.remote("/in")), 0).events("entry")[0]
        self.assertEqual(entry, dict(listed, time=entry["time"]))

    def test_the_operator_sees_when_a_client_was_here(self):
        self.check(self.ann.json("ls", self.remote("/")), 0)
        listed = self.daemon.admin("clients", "list", "--json").stdout.decode()
        self.assertNotIn('"last_seen":null', listed)
        self.assertIn('"last_seen":"20', listed)

    def test_missing_parents_are_made_as_mkdir_makes_them(self):
        self.write("f", b"x")
        previous = os.umask(0o022)
        try:
            daemon = self.serve("2")
        finally:
            os.umask(previous)
        self.register(self.ann, daemon)
        self.check(self.push(self.path("f"), self.remote("/a/b/f", daemon)), 0)
        for name in ("a", "a/b"):
            self.assertEqual(os.stat(os.path.join(daemon.root, name)).st_mode & 0o777, 0o755)
        self.check(self.pull(self.remote("/a/b/f", daemon), self.path("x/y/")), 0)
        self.assertEqual(os.stat(self.path("x/y")).st_mode & 0o777, 0o777 & ~self.umask())

    @staticmethod
    def umask():
        mask = os.umask(0)
        os.umask(mask)
        return mask

    def test_warnings_say_the_path_as_the_user_wrote_it(self):
        os.makedirs(self.path("tree"))
        os.mkfifo(self.path("tree/pipe"))
        self.write("tree/f", b"x")
        outcome = self.check(self.push(self.path("tree"), self.remote("/tree")), 10, "PARTIAL")
        warning = outcome.events("warning")[0]
        self.assertEqual((warning["name"], warning["path"]), ("SPECIAL_FILE", self.path("tree/pipe")))
        self.assertIn(self.path("tree/pipe"), warning["message"])
        for field in ("files", "bytes", "bytes_sent", "seconds", "receipt", "digest"):
            self.assertIn(field, outcome.last)

    def test_a_second_daemon_on_one_state_directory_is_refused(self):
        ended = subprocess.run(
            [program("penstockd"), "serve", "--root", self.daemon.root, "--state", self.daemon.state, "--listen", "127.0.0.1:0"],
            capture_output=True,
        )
        self.assertEqual(ended.returncode, 2, ended.stderr)
        self.assertIn(b"another penstockd", ended.stderr)
        self.daemon.kill()
        self.daemons.append(Daemon(self, self.daemon.root, self.daemon.state))

    def test_an_address_that_can_not_be_bound_is_named_and_ends_in_3(self):
        # Exit 3 has no code for it (CLI.md section 5), and a code that says another exit would be wrong.
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            stream.bind(("127.0.0.1", 0))
            stream.listen()
            datagrams.bind(("127.0.0.1", 0))
            for where in (
                "127.0.0.1:%d" % stream.getsockname()[1],
                "127.0.0.1:%d" % datagrams.getsockname()[1],
                "192.0.2.1:7440",
            ):
                tried = subprocess.run(
                    [program("penstockd"), "serve", "--root", self.daemon.root, "--state", self.path("bare"), "--listen", where],
                    capture_output=True,
                    timeout=60,
                )
                said = tried.stderr.decode()
                self.assertEqual(tried.returncode, 3, said)
                self.assertIn(" %s: " % where, said)
                self.assertIn("--listen", said)
                self.assertNotRegex(said, r"\(1\d\d\d\)")

    def test_what_else_keeps_a_daemon_from_serving_does_not_end_in_3(self):
        broken = self.path("broken")
        os.makedirs(os.path.join(broken, "registry.db"))
        tried = subprocess.run(
            [program("penstockd"), "serve", "--root", self.daemon.root, "--state", broken, "--listen", "127.0.0.1:0"],
            capture_output=True,
            timeout=60,
        )
        self.assertIn(tried.returncode, (1, 2), tried.stderr)

    def test_a_silent_listener_is_told_by_its_name(self):
        import socket

        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(1)
            address = "127.0.0.1:%d" % silent.getsockname()[1]
            outcome = self.check(self.ann.json("ls", address + ":/", "--connect-timeout", "1s"), 9, "TIMED_OUT")
            self.assertIn(address, self.message(outcome))

    def test_an_admin_hint_is_said_once(self):
        gone = self.daemon.admin("clients", "revoke", "00000000-0000-4000-8000-000000000000")
        self.assertEqual(gone.returncode, 5)
        self.assertEqual(gone.stderr.decode().count("clients list"), 1)

    def test_a_changed_key_names_a_command_that_there_is(self):
        port = self.daemon.port
        self.daemon.kill()
        root, state = self.path("root-b"), self.path("state-b")
        os.makedirs(root)
        self.daemons.append(Daemon(self, root, state, "127.0.0.1:%d" % port))
        outcome = self.check(self.ann.json("ls", "127.0.0.1:%d:/" % port), 4, "PIN_MISMATCH")
        self.assertIn("penstock register", self.message(outcome))
        # and that is the way out
        self.register(self.ann, self.daemons[-1])
        self.check(self.ann.json("ls", "127.0.0.1:%d:/" % port), 0)

    def test_the_progress_line_has_its_parts_on_80_columns(self):
        self.random_file("big", 30_000_000)
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [program("penstock"), "push", "--rate", "40M", self.path("big"), self.remote("/big")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=follower,
            env=dict(self.ann.environment, TERM="xterm", NO_COLOR="1"),
        )
        os.close(follower)
        shown = b""

        def complete():
            nonlocal shown
            if select.select([leader], [], [], 0.05)[0]:
                shown += os.read(leader, 4096)
            lines = shown.decode(errors="replace").split("\r")
            return any(all(part in line for part in (" %", "bit/s)", "ETA ", "loss ", "limited by ")) for line in lines)

        try:
            wait_until(complete, "a progress line with everything that is promised")
        finally:
            process.send_signal(signal.SIGINT)

            def ended():
                # EIO: the other side of the terminal has gone with the process.
                with contextlib.suppress(OSError):
                    if select.select([leader], [], [], 0)[0]:
                        os.read(leader, 4096)
                return process.poll() is not None

            wait_until(ended, "the end")
            os.close(leader)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(process.stdout.read(), b"")
        process.stdout.close()

    def test_a_daemon_that_shuts_down_says_so_to_every_command_and_lets_a_transfer_finish(self):
        file = self.random_file("big", 30_000_000)
        process = self.ann.start("push", "--rate", "60M", file, self.remote("/big"))
        wait_until(lambda: self.daemon.logged("transfer_started"), "the transfer")
        self.daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: self.daemon.logged("draining"), "the drain")
        self.check(self.ann.json("ls", self.remote("/")), 3, "DRAINING")
        self.check(self.ann.json("ping", self.daemon.address), 3, "DRAINING")
        self.check(self.push(self.write("small", b"x"), self.remote("/small")), 3, "DRAINING")
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)

    def test_a_dry_run_says_what_would_be_done_and_does_nothing(self):
        self.write("new", b"12345")
        self.write("old", b"123")
        self.write(self.served("in/old"), b"other")
        outcome = self.check(
            self.push(self.path("new"), self.path("old"), self.remote("/in/"), "-n", "--overwrite", "skip"), 0
        )
        told = {event["path"]: (event["action"], event["bytes"]) for event in outcome.events("file")}
        self.assertEqual(told, {"new": ("send", 5), "old": ("skip", 3)})
        done = outcome.last
        self.assertEqual((done["files"], done["files_skipped"], done["bytes_sent"]), (1, 1, 0))
        self.assertEqual(done["bytes"], done["bytes_sent"] + done["bytes_resumed"] + done["bytes_skipped"])
        self.assertIn("would have pushed 1 file, 5 B; 1 file skipped", outcome.stderr)
        self.assertEqual(os.listdir(self.served("in")), ["old"])
        self.check(self.push(self.path("old"), self.remote("/in/"), "-n"), 6, "FILE_EXISTS")

    def test_verbose_names_files_below_the_destination_as_the_receipt_does(self):
        self.write("tree/f", b"1")
        self.write("tree/sub/g", b"22")
        pushed = self.check(self.push(self.path("tree"), self.remote("/in/"), "-v"), 0)
        self.assertEqual({event["path"] for event in pushed.events("file")}, {"tree/f", "tree/sub/g"})
        pulled = self.check(self.pull(self.remote("/in/tree"), self.path("back"), "-v"), 0)
        self.assertEqual({event["path"] for event in pulled.events("file")}, {"f", "sub/g"})
        listed = self.ann.json("receipt", "show", pulled.last["transfer"], "--sums")
        self.assertEqual({event["path"] for event in listed.events("file")}, {"f", "sub/g"})

    def tree_with_links(self):
        self.write("tree/f", b"123")
        self.write("tree/sub/g", b"45")
        os.makedirs(self.path("tree/empty"))
        os.symlink("nowhere", self.path("tree/link"))

    def test_file_events_are_for_files_and_links_and_files_counts_files(self):
        self.tree_with_links()
        shown = {"f": "file", "sub/g": "file", "link": "symlink"}
        for source, dest, top in (
            (self.path("tree"), "/in/tree", ""),
            (self.path("tree") + "/.", "/in/contents", ""),
            (self.path("tree"), "/in/inside/", "tree/"),
        ):
            for options in (["-n"], ["-v"]):
                outcome = self.check(self.push(source, self.remote(dest), *options), 0)
                events = outcome.events("file")
                self.assertEqual({e["path"]: e["type"] for e in events}, {top + k: v for k, v in shown.items()})
                self.assertEqual(len(events), len(shown))
                self.assertEqual({e["action"] for e in events}, {"send"})
                self.assertEqual({e["path"] for e in events if e["digest"]} & {top + "link"}, set())
                self.assertEqual(outcome.last["files"], 2)
        for options in (["-n"], ["-v"]):
            outcome = self.check(self.pull(self.remote("/in/tree/."), self.path("back"), *options), 0)
            self.assertEqual({e["path"]: e["type"] for e in outcome.events("file")}, shown)
            self.assertEqual(outcome.last["files"], 2)
        receipt = self.check(self.ann.json("receipt", "show", outcome.last["transfer"]), 0)
        self.assertEqual(receipt.events("entry")[0]["files"], 2)

    def test_links_that_are_skipped_or_replaced_are_shown_as_such(self):
        self.tree_with_links()
        self.check(self.push(self.path("tree"), self.remote("/in/tree")), 0)
        for overwrite, action in (("skip", "skip"), ("always", "replace")):
            outcome = self.check(
                self.push(self.path("tree"), self.remote("/in/tree"), "-v", "--overwrite", overwrite), 0
            )
            actions = {event["path"]: event["action"] for event in outcome.events("file")}
            self.assertEqual(actions, {"f": action, "sub/g": action, "link": action})

    def test_a_target_that_can_not_be_made_fails_by_its_own_error(self):
        self.write(self.served("f"), b"x")
        os.makedirs(self.served("d"))
        self.write(self.served("d/g"), b"x")
        for source in ("/f", "/d"):
            outcome = self.pull(self.remote(source), "/proc/x")
            self.assertEqual(outcome.exit, 5, outcome)
            self.assertIn(outcome.error, ("PERMISSION_DENIED", "NOT_FOUND"))
            self.assertIn("/proc/x", outcome.last["path"])
            self.assertIn("/proc", self.message(outcome))
            self.assertEqual(outcome.events("warning"), [])

    def test_a_file_on_the_way_to_the_target_is_named(self):
        self.write("file", b"x")
        self.write(self.served("in/file"), b"x")
        for words in (
            ["push", self.path("file"), self.remote("/in/file/below")],
            ["push", self.path("file"), self.remote("/in/file/far/below")],
            ["push", self.path("file"), self.remote("/in/file/")],
        ):
            outcome = self.check(self.ann.json(*words), 5, "NOT_A_DIRECTORY")
            self.assertIn("/in/file", self.message(outcome))
            self.assertNotIn("below", self.message(outcome))
        for dest in ("file/below", "file/far/below", "file/"):
            outcome = self.check(self.pull(self.remote("/in/file"), self.path(dest)), 5, "NOT_A_DIRECTORY")
            self.assertIn(self.path("file"), self.message(outcome))
            self.assertNotIn("below", self.message(outcome))

    def test_an_address_with_a_zone_is_an_address(self):
        daemon = self.serve("6", listen="[::1]:0")
        port = daemon.port
        self.check(self.ann.json("register", f"[::1]:{port}", "--token", daemon.token()), 0)
        self.write("f", b"x")
        for number, zone in enumerate(("lo", str(socket.if_nametoindex("lo")))):
            host = f"[::1%{zone}]:{port}"
            self.check(self.push(self.path("f"), f"{host}:/zone{number}"), 0)
            self.assertEqual(self.check(self.ann.json("ping", host), 0).last["udp"], True)
        unknown = self.check(self.ann.json("ls", f"[::1%nosuch0]:{port}:/"), 3, "RESOLVE_FAILED")
        self.assertIn("nosuch0", self.message(unknown))

    def test_operators_lists_refuse_a_misspelt_state_directory(self):
        typo = self.path("typo")
        for words in (["tokens", "list"], ["clients", "list"], ["tokens", "revoke", "0" * 16]):
            run = subprocess.run(
                [program("penstockd"), *words, "--state", typo, "--json"], capture_output=True, env=self.ann.environment
            )
            self.assertEqual(run.returncode, 2, run)
            self.assertEqual(json.loads(run.stdout.splitlines()[-1])["name"], "CONFIG_INVALID")
            self.assertIn(typo, run.stdout.decode())
            self.assertFalse(os.path.exists(typo))

    def test_a_certificate_that_can_not_be_used_is_named_once_with_the_way_out(self):
        other = self.write("other.pem", b"no pem", mode=0o600)
        public = self.write("public.key", b"no pem", mode=0o644)
        for key, part in (
            (self.path("missing.key"), "there is no such file"),
            (public, "chmod 600"),
            (other, "PEM"),
        ):
            run = subprocess.run(
                [
                    *[program("penstockd"), "serve", "--root", self.daemon.root, "--state", self.path("state9")],
                    *["--listen", "127.0.0.1:0", "--cert", other, "--key", key],
                ],
                capture_output=True,
            )
            text = run.stderr.decode()
            self.assertEqual(run.returncode, 2, text)
            self.assertEqual(text.count("cannot use"), 1, text)
            self.assertEqual(text.count(key), 1, text)
            self.assertIn(part, text)

    def test_messages_about_keys_name_host_and_port(self):
        address = self.daemon.address
        wrong = "SHA256:" + "0" * 64
        outcome = self.check(
            self.ann.json("register", address, "--token", self.daemon.token(), "--fingerprint", wrong), 4, "PIN_MISMATCH"
        )
        self.assertIn(address + " shows", self.message(outcome))
        other = self.serve("2")
        outcome = self.check(self.ann.json("register", address, "--token", other.token()), 4, "TOKEN_REFUSED")
        self.assertIn(address + " shows", self.message(outcome))

    def test_closed_and_full_output_harm_nothing_but_the_exit_status(self):
        self.write("f", b"x")
        push = [program("penstock"), "push", "--json", self.path("f")]
        closed = subprocess.run(
            ["sh", "-c", 'exec "$0" "$@" >&- 2>&- <&-', *push, self.remote("/closed")], env=self.ann.environment
        )
        self.assertEqual(closed.returncode, 0)
        with open(self.served("closed"), "rb") as file:
            self.assertEqual(file.read(), b"x")
        with open("/dev/full", "wb") as full:
            lost = subprocess.run([*push, self.remote("/full")], env=self.ann.environment, stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(lost.returncode, 8)
        self.assertIn(b"standard output", lost.stderr)

    def prompted(self):
        """A command that asks for a token at a terminal: itself, the terminal's outer and inner end."""
        outer, inner = pty.openpty()
        self.addCleanup(os.close, outer)
        self.addCleanup(os.close, inner)
        process = Person(self, "bob").start("register", self.daemon.address, "--token", "-", stdin=inner)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        self.assertEqual(process.stderr.read(len(b"token: ")), b"token: ")
        return process, outer, inner

    @staticmethod
    def shows(terminal):
        return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)

    def test_a_token_that_is_typed_is_not_shown(self):
        process, outer, inner = self.prompted()
        token = self.daemon.token("bob").encode()
        os.write(outer, token + b"\n")
        self.assertEqual(process.wait(), 0)
        shown = b""
        while select.select([outer], [], [], 0)[0]:
            shown += os.read(outer, 4096)
        self.assertEqual(shown, b"\r\n")
        self.assertTrue(self.shows(inner))

    def test_a_signal_while_a_token_is_asked_for_leaves_a_terminal_that_shows(self):
        process, _, inner = self.prompted()
        self.assertFalse(self.shows(inner))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(), 130)
        self.assertTrue(self.shows(inner))

    def test_receipt_check_names_every_file_that_is_not_as_it_should_be(self):
        for name in ("a", "b", "c"):
            self.write("tree/" + name, name.encode())
        done = self.check(self.push(self.path("tree"), self.remote("/tree")), 0).last
        self.write(self.served("tree/a"), b"A")
        os.remove(self.served("tree/c"))
        outcome = self.check(
            self.ann.json("receipt", "check", done["receipt"], self.served("tree")), 7, "DIGEST_MISMATCH"
        )
        bad = [(line["name"], line["path"]) for line in outcome.events("warning")]
        self.assertEqual(bad, [("DIGEST_MISMATCH", "a"), ("NOT_FOUND", "c")])
        self.assertIn("2 of 3 files", self.message(outcome))
