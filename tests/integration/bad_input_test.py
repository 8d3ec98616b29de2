"""Bad input, item by item: one clear sentence, the exit code and the name of CLI.md, nothing half written, and the
daemon goes on serving the others."""

import base64
import json
import os
import shutil
import socket
import ssl
import struct
import threading
import time
import unittest
from datetime import datetime, timedelta, timezone

from lab import LabTest, Person, free_port, wait_until


class Tokens(LabTest):
    def setUp(self):
        super().setUp()
        self.bob = Person(self, "bob")

    def register(self, person, daemon=None, **token):
        return super().register(person, daemon, **token)

    def attempt(self, token, daemon=None):
        outcome = self.bob.register(daemon or self.daemon, token)
        self.check(self.ann.json("ls", self.remote("/")), 0)  # the others are served
        return outcome

    def test_wrong_secret(self):
        token = self.daemon.token("bob")
        raw = bytearray(base64.urlsafe_b64decode(token[4:] + "=" * (-len(token[4:]) % 4)))
        raw[20] ^= 1
        self.check(self.attempt("pt1_" + base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")), 4, "TOKEN_REFUSED")

    def test_truncated(self):
        token = self.daemon.token("bob")
        for length in (0, 3, 4, 10, len(token) - 1):
            self.check(self.attempt(token[:length] or " "), 4, "TOKEN_REFUSED")

    def test_used_by_somebody_else(self):
        token = self.daemon.token("bob")
        self.check(self.attempt(token), 0)
        thief = Person(self, "thief")
        self.check(thief.register(self.daemon, token), 4, "TOKEN_REFUSED")

    def test_expired(self):
        token = self.daemon.token("bob", extra=("--ttl", "1s"))
        time.sleep(2.1)  # the token's own clock is what is tested
        self.check(self.attempt(token), 4, "TOKEN_REFUSED")

    def test_for_another_daemon(self):
        other = self.serve("2")
        self.check(self.attempt(other.token("bob")), 4, "TOKEN_REFUSED")


class Identities(LabTest):
    def test_unregistered_names_the_command_to_run(self):
        stranger = Person(self, "stranger")
        outcome = self.check(stranger.json("ls", self.remote("/")), 4, "NOT_REGISTERED")
        self.assertIn("penstock register", outcome.last["message"])

    def test_a_token_at_hand_registers_first(self):
        stranger = Person(self, "stranger")
        self.write(self.served("seen"), b"")
        outcome = self.check(
            stranger.json("ls", self.remote("/"), environment={"PENSTOCK_TOKEN": self.daemon.token("eve")}), 0
        )
        self.assertEqual([entry["name"] for entry in outcome.events("entry")], ["seen"])

    def test_an_unknown_uuid_and_a_wrong_key_look_alike(self):
        other = self.serve("2")
        bob = Person(self, "bob")
        self.assertEqual(bob.register(self.daemon).exit, 0)
        # Bob's registration with ann's key: right UUID, another key.
        stolen = Person(self, "stolen")
        shutil.copytree(bob.home, stolen.home)
        keys = os.path.join(stolen.home, "keys")
        [key] = os.listdir(keys)
        [anns] = os.listdir(os.path.join(self.ann.home, "keys"))
        shutil.copyfile(os.path.join(self.ann.home, "keys", anns), os.path.join(keys, key))
        wrong_key = self.check(stolen.json("ls", self.remote("/")), 4, "AUTH_FAILED")
        # An unknown UUID: the registry has forgotten everybody.
        self.daemon.stop()
        for name in ("registry.db", "registry.db-wal", "registry.db-shm"):
            if os.path.exists(os.path.join(self.daemon.state, name)):
                os.unlink(os.path.join(self.daemon.state, name))
        again = self.serve(listen=self.daemon.address)
        unknown = self.check(bob.json("ls", self.remote("/", again)), 4, "AUTH_FAILED")
        self.assertEqual(wrong_key.last["message"], unknown.last["message"])
        self.assertIsNotNone(other)

    def test_a_revoked_client_is_refused_and_a_live_session_ends(self):
        [client] = [line for line in self.daemon.admin("clients", "list", "--json").stdout.splitlines() if b'"entry"' in line]
        uuid = json.loads(client)["uuid"]
        file = self.random_file("big", 200_000_000)
        process = self.ann.start("push", file, self.remote("/big"), "--rate", "50M", "--json")
        wait_until(lambda: self.daemon.logged("transfer_started"), "the transfer")
        self.assertEqual(self.daemon.admin("clients", "revoke", uuid).returncode, 0)
        revoked_at = datetime.now(timezone.utc)
        stdout, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 4, stdout)
        last = json.loads(stdout.splitlines()[-1])
        self.assertEqual(last["name"], "REVOKED", last)
        # Said, not judged: a loaded machine is late. What bounds it is in control/server/registry_watch.h and its test.
        heard_after = datetime.fromisoformat(last["time"]) - revoked_at
        print("revoked: the client said so %.0f ms later" % (heard_after / timedelta(milliseconds=1)))
        self.assertFalse(os.path.exists(self.served("big")))
        self.check(self.ann.json("ls", self.remote("/")), 4, "AUTH_FAILED")
        # Nothing is taken any more once the session is over, and only a part had been.
        wait_until(lambda: self.daemon.logged("session_closed"), "the end of the session")
        wait_until(lambda: self.daemon.logged("transfer_ended"), "the end of the transfer")
        taken = [line["bytes"] for line in map(json.loads, stdout.splitlines()) if line["event"] == "progress"]
        self.assertLess(max(taken, default=0), 200_000_000)

    def test_a_changed_pin_is_refused_before_anything_is_sent(self):
        address = self.daemon.address
        self.daemon.stop()
        shutil.rmtree(self.daemon.state)
        again = self.serve(listen=address)
        self.check(self.ann.json("ls", self.remote("/", again)), 4, "PIN_MISMATCH")

    def test_a_wrong_fingerprint_is_refused(self):
        bob = Person(self, "bob")
        self.check(bob.register(self.daemon, None, "--fingerprint", "SHA256:" + "0" * 64), 4, "PIN_MISMATCH")


class Strangers(LabTest):
    """What is not penstock on the port: nobody is answered at length, everybody else is served."""

    def still_serves(self):
        self.check(self.ann.json("ls", self.remote("/")), 0)

    def connect(self):
        made = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=60)
        self.addCleanup(made.close)
        return made

    def drain(self, connection):
        received = b""
        try:
            while piece := connection.recv(4096):
                received += piece
        except ConnectionError:
            pass
        return received

    def test_plain_text_and_http(self):
        for words in (b"hello\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 100):
            connection = self.connect()
            connection.sendall(words)
            self.assertLess(len(self.drain(connection)), 100)
        self.still_serves()

    def test_tls_1_2_and_missing_alpn(self):
        for version, alpn in ((ssl.TLSVersion.TLSv1_2, ["penstock/1"]), (ssl.TLSVersion.TLSv1_3, None)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.maximum_version = version
            if alpn:
                context.set_alpn_protocols(alpn)
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                with context.wrap_socket(self.connect()) as wrapped:
                    if not wrapped.recv(1):
                        raise ConnectionError
        self.still_serves()

    def test_a_length_of_4_gib_costs_nothing(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["penstock/1"])
        with context.wrap_socket(self.connect()) as wrapped:
            wrapped.sendall(struct.pack(">I", 0xFFFFFFFF) + b"x" * 100)
            try:
                while wrapped.recv(4096):
                    pass
            except (ssl.SSLError, ConnectionError):
                pass
        self.still_serves()

    def test_silent_connections_keep_nobody_out(self):
        held = [self.connect() for _ in range(300)]  # 256 have room
        self.still_serves()
        # The oldest have made room; the newest are waited for.
        self.assertEqual(self.drain(held[0]), b"")
        held[-1].settimeout(0.2)
        with self.assertRaises(TimeoutError):
            held[-1].recv(1)

    def test_silence_is_ended_by_the_daemon(self):
        connection = self.connect()
        self.still_serves()
        self.assertEqual(self.drain(connection), b"")  # returns when the daemon hangs up: 10 s


class ClientAgainstStrangers(LabTest):
    def test_nothing_listens(self):
        self.check(self.push(self.write("f", b"x"), "127.0.0.1:%d:/f" % free_port()), 3, "CONNECT_REFUSED")

    def test_no_such_host(self):
        self.check(self.push(self.write("f", b"x"), "no-such-host.invalid:/f"), 3, "RESOLVE_FAILED")

    def test_what_answers_is_no_penstock(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            def answer():
                connection, _ = server.accept()
                with connection:
                    connection.recv(100)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            thread = threading.Thread(target=answer)
            thread.start()
            self.check(self.push(self.write("f", b"x"), "127.0.0.1:%d:/f" % server.getsockname()[1]), 3, "NOT_PENSTOCK")
            thread.join()

    def test_the_daemon_goes_for_good(self):
        file = self.random_file("big", 200_000_000)
        process = self.ann.start("push", file, self.remote("/big"), "--rate", "100M", "--timeout", "8s", "--json")
        wait_until(lambda: self.daemon.logged("transfer_started"), "the transfer")
        self.daemon.kill()
        stdout, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 9, stdout)
        self.assertIn(b"TIMED_OUT", stdout.splitlines()[-1])


class Paths(LabTest):
    def test_a_missing_source_here_and_there(self):
        self.check(self.push(self.path("nothing"), self.remote("/x")), 5, "NOT_FOUND")
        self.check(self.pull(self.remote("/nothing"), self.path("x")), 5, "NOT_FOUND")
        self.assertFalse(os.path.exists(self.path("x")))

    def test_beyond_the_grants(self):
        bob = Person(self, "bob")
        self.register(bob, user="bob", grants=("rw:/bob", "r:/pub", "w:/drop"))
        for name in ("bob", "pub", "drop", "secret"):
            os.mkdir(self.served(name))
        self.write(self.served("pub/read"), b"r")
        self.write(self.served("secret/key"), b"k")
        file = self.write("f", b"x")
        self.check(self.push(file, self.remote("/secret/f"), person=bob), 5, "PERMISSION_DENIED")
        self.check(self.push(file, self.remote("/pub/f"), person=bob), 5, "PERMISSION_DENIED")
        self.check(self.pull(self.remote("/secret/key"), self.path("k"), person=bob), 5, "PERMISSION_DENIED")
        self.check(self.pull(self.remote("/drop"), self.path("d"), person=bob), 5, "PERMISSION_DENIED")
        self.check(self.push(file, self.remote("/drop/f"), person=bob), 0)
        self.check(self.push(file, self.remote("/bob/f"), person=bob), 0)
        self.check(self.pull(self.remote("/pub/read"), self.path("r"), person=bob), 0)
        listed = self.check(bob.json("ls", self.remote("/")), 0)
        self.assertEqual([entry["name"] for entry in listed.events("entry")], ["bob", "drop", "pub"])
        self.check(bob.json("rm", self.remote("/pub/read")), 5, "PERMISSION_DENIED")
        self.check(bob.json("rm", "-r", self.remote("/bob")), 5, "PERMISSION_DENIED")

    def test_a_link_below_the_root_is_never_followed(self):
        os.symlink("/etc", self.served("etc"))
        self.check(self.pull(self.remote("/etc/passwd"), self.path("p")), 5, "PATH_REFUSED")
        self.check(self.push(self.write("f", b"x"), self.remote("/etc/f")), 5, "PATH_REFUSED")
        self.assertFalse(os.path.exists(self.path("p")))

    def test_partial_names_are_refused(self):
        name = ".penstock-" + "0" * 32 + ".part"
        self.check(self.push(self.write("f", b"x"), self.remote("/" + name)), 5, "PATH_REFUSED")

    def test_what_only_looks_like_a_partial_is_left_out_by_name(self):
        self.write("tree/good", b"good")
        self.write("tree/.penstock-" + "0" * 32 + ".part", b"of an interrupted pull")
        self.write("tree/.penstock-mine.part", b"precious")
        outcome = self.push(self.path("tree"), self.remote("/tree"))
        self.assertEqual(outcome.exit, 10, outcome)
        [warning] = outcome.events("warning")
        self.assertIn(".penstock-mine.part", warning["path"])
        self.assertEqual(os.listdir(self.served("tree")), ["good"])

    def test_unreadable_and_special_files_are_left_out(self):
        self.write("tree/good", b"good")
        os.mkfifo(self.path("tree/pipe"))
        outcome = self.push(self.path("tree"), self.remote("/tree"))
        self.assertEqual(outcome.exit, 10, outcome)
        self.assertEqual(len(outcome.events("warning")), 1, outcome)
        self.assertTrue(os.path.isfile(self.served("tree/good")))
        self.assertFalse(os.path.lexists(self.served("tree/pipe")))

    def test_a_source_that_changes_is_left_out_by_name(self):
        self.write("tree/steady", b"steady")
        file = self.random_file("tree/moving", 100_000_000)
        process = self.ann.start("push", self.path("tree"), self.remote("/tree"), "--rate", "100M", "--json")
        wait_until(lambda: self.daemon.logged("transfer_started"), "the transfer")
        wait_until(lambda: self.durable_blocks(self.daemon.state), "the file to be under way")
        with open(file, "r+b") as out:
            out.write(b"changed")
        stdout, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 10, stdout)
        self.assertIn(b"SOURCE_CHANGED", stdout)
        self.assertTrue(os.path.isfile(self.served("tree/steady")))
        self.assertFalse(os.path.exists(self.served("tree/moving")))
        self.nothing_half_written(self.served())

    def test_no_permission_in_the_target(self):
        if os.geteuid() == 0:
            self.skipTest("root may write everywhere")
        os.mkdir(self.served("locked"), 0o500)
        self.check(self.push(self.write("f", b"x"), self.remote("/locked/f")), 5, "PERMISSION_DENIED")

    def test_wrong_words(self):
        for words in (
            ("push", "f"),
            ("push", "f", "host:relative"),
            ("push", "--cc", "scavenger", "--lanes", "2", "f", "host:/x"),
            ("push", "--cc", "fixed", "f", "host:/x"),
            ("push", "--fec", "0,4", "f", "host:/x"),
            ("push", "-P", "f", "host:/x"),
            ("push", "-", "host:/x"),
            ("nonsense",),
        ):
            outcome = self.ann.json(*words)
            self.assertEqual(outcome.exit, 2, (words, outcome))


if __name__ == "__main__":
    unittest.main()
