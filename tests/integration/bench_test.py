"""tools/bench and the blast, as people use them. What they measure is nobody's business here: that bytes arrive, that figures
come out, and that nothing is left behind is."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from lab_support import HOUSE, LabCommandTest, wait_until

BENCH = os.path.join(HOUSE, "tools", "bench")
BLAST = os.path.join(os.environ["PENSTOCK_BIN"], "penstock_bench_blast")
PATIENCE = 60  # seconds; only reached by what hangs
MIB = 1 << 20


class Blast(unittest.TestCase):
    def setUp(self):
        self.place = self.enterContext(tempfile.TemporaryDirectory())
        self.copy = os.path.join(self.place, "copy")

    def receive(self, *words, listen="127.0.0.1:0"):
        """A receiver that listens; its process and address."""
        argv = [BLAST, "receive", "--listen", listen, *words]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        line = process.stdout.readline()
        self.assertTrue(line.startswith("listening on "), line or process.stderr.read())
        return process, line.split()[2]

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def send(self, address, *words):
        return subprocess.run([BLAST, "send", address, *words], capture_output=True, text=True, timeout=PATIENCE)

    def blast(self, send=(), receive=(), listen="127.0.0.1:0"):
        """One blast; what both ends say of it."""
        receiver, address = self.receive(*receive, listen=listen)
        sent = self.send(address, *send)
        self.assertEqual(sent.returncode, 0, sent.stderr)
        out, err = receiver.communicate(timeout=PATIENCE)
        self.assertEqual(receiver.returncode, 0, err)
        return json.loads(sent.stdout), json.loads(out)

    def source(self, size):
        path = os.path.join(self.place, "source")
        with open(path, "wb") as file:
            file.write(os.urandom(size))
        return path

    def carried(self, size, send=(), receive=(), listen="127.0.0.1:0"):
        """A file of so many bytes arrives as it is."""
        source = self.source(size)
        sent, received = self.blast(["--from", source, *send], ["--into", self.copy, *receive], listen)
        self.assertEqual((sent["total"], sent["arrived"], received["arrived"]), (size, size, size))
        with open(source, "rb") as one, open(self.copy, "rb") as other:
            self.assertEqual(one.read(), other.read())
        os.unlink(self.copy)
        return sent, received

    def test_a_file_arrives_whole_at_every_boundary(self):
        for size in (1, 1435, 1436, 1437, MIB - 1, MIB, MIB + 1, 9 * MIB + 17):
            with self.subTest(size):
                self.carried(size)

    def test_without_offloads_it_is_the_same_file(self):
        sent, received = self.carried(5 * MIB + 3, ["--no-gso"], ["--no-gro"])
        self.assertFalse(sent["gso"])
        self.assertFalse(received["gro"])

    def test_with_small_and_with_large_datagrams(self):
        for size in (64, 1280, 9000, 65507):
            with self.subTest(size):
                self.carried(2 * MIB + 5, ["--datagram", str(size)])

    def test_over_ipv6(self):
        self.carried(3 * MIB, listen="[::1]:0")

    def test_with_every_cipher_that_this_machine_has(self):
        tried = 0
        for name in ("ipsec-mb", "openssl", "libsodium", "openssl-chacha20"):
            probe = self.send("127.0.0.1:1", "--aead", name, "--bytes", "1")
            if "no AEAD backend" in probe.stderr:
                continue
            with self.subTest(name):
                self.assertEqual(self.carried(MIB + 1, ["--aead", name])[0]["aead"], name)
                tried += 1
        self.assertGreaterEqual(tried, 2)

    def test_in_the_clear_all_bytes_are_counted(self):
        sent, received = self.blast(["--clear", "--bytes", "7MiB"])
        self.assertEqual((sent["arrived"], received["arrived"]), (7 * MIB, 7 * MIB))
        self.assertEqual(sent["aead"], "")

    def test_a_target_that_exists_is_not_fresh_and_is_refused(self):
        with open(self.copy, "wb"):
            pass
        argv = [BLAST, "receive", "--listen", "127.0.0.1:0", "--into", self.copy]
        refused = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn(self.copy, refused.stderr)

    def test_a_stranger_who_connects_is_told_from_a_sender(self):
        receiver, address = self.receive()
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\nHost: nobody\r\nUser-Agent: somebody else altogether\r\n\r\n")
            _, err = receiver.communicate(timeout=PATIENCE)
        self.assertEqual(receiver.returncode, 1)
        self.assertIn("no blast's sender", err)

    def test_a_sender_that_dies_ends_the_receiver(self):
        receiver, address = self.receive()
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
        receiver.communicate(timeout=PATIENCE)
        self.assertEqual(receiver.returncode, 1)

    def test_forged_datagrams_are_counted_and_change_nothing(self):
        source = self.source(2 * MIB)
        receiver, address = self.receive("--into", self.copy)
        host, _, port = address.rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for datagram in (b"x", b"\0" * 1471, bytes.fromhex("44000000626c617374") + b"\0" * 100):
                stranger.sendto(datagram, (host, int(port)))
        self.assertEqual(self.send(address, "--from", source).returncode, 0)
        out, err = receiver.communicate(timeout=PATIENCE)
        self.assertEqual(receiver.returncode, 0, err)
        self.assertEqual(json.loads(out)["unusable"], 3)
        with open(source, "rb") as one, open(self.copy, "rb") as other:
            self.assertEqual(one.read(), other.read())


class Bench(LabCommandTest):
    """LabCommandTest marks every process, and looks that none is left."""

    def setUp(self):
        super().setUp()
        self.place = self.enterContext(tempfile.TemporaryDirectory())

    def bench(self, *words):
        return subprocess.Popen(
            [sys.executable, "-B", BENCH, *words],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )

    def test_a_small_whole_run_measures_compares_and_leaves_nothing(self):
        tools = ("penstock", "penstock pull", "penstock fixed", "sealed blast", "sealed blast, no files", "raw blast")
        written = os.path.join(self.place, "figures.json")
        words = ["--size", "4", "--runs", "1", "--place", self.place, "--json", written]
        running = self.bench("whole", *words, *(word for tool in tools for word in ("--tool", tool)))
        out, err = running.communicate(timeout=PATIENCE)
        self.assertEqual(running.returncode, 0, err)
        with open(written, encoding="utf-8") as file:
            told = json.load(file)
        self.assertEqual(set(told["figures"]), set(tools), err)
        for tool in tools:
            self.assertGreater(told["figures"][tool]["gbit_s"][0], 0, tool)
            self.assertIn(tool, out)
        self.assertEqual(next(bar for bar in told["bars"] if bar["what"] == "scp")["holds"], None)
        self.assertNotIn("notes", told["about"])
        self.assertEqual(os.listdir(self.place), ["figures.json"])
        compared = self.bench("compare", written, written)
        out, err = compared.communicate(timeout=PATIENCE)
        self.assertEqual(compared.returncode, 0, err)
        self.assertIn("within the spread", out)

    def test_without_offloads_every_packet_crosses_by_itself(self):
        written = os.path.join(self.place, "figures.json")
        words = ["--size", "4", "--runs", "1", "--place", self.place, "--json", written, "--offloads", "none"]
        running = self.bench("whole", *words, "--tool", "penstock", "--tool", "sealed blast")
        out, err = running.communicate(timeout=PATIENCE)
        self.assertEqual(running.returncode, 0, err)
        self.assertIn("offloads: none", out)
        with open(written, encoding="utf-8") as file:
            self.assertGreater(json.load(file)["figures"]["sealed blast"]["gbit_s"][0], 0)

    def test_a_signal_in_the_middle_leaves_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                running = self.bench("whole", "--size", "64", "--runs", "1000", "--place", self.place, "--tool", "sealed blast")
                line = ""
                while "1/1000" not in line:
                    line = running.stderr.readline()
                    self.assertTrue(line, "it ended before it was told to")
                running.send_signal(number)
                running.communicate(timeout=PATIENCE)
                self.assertEqual(running.returncode, 128 + number)
                wait_until(lambda: not os.listdir(self.place), "the files to go")

    def test_a_tool_that_nobody_knows_is_named_with_those_that_there_are(self):
        running = self.bench("whole", "--place", self.place, "--tool", "carrier pigeon")
        _, err = running.communicate(timeout=PATIENCE)
        self.assertEqual(running.returncode, 2)
        self.assertIn("carrier pigeon", err)
        self.assertIn("sealed blast", err)


if __name__ == "__main__":
    unittest.main()
