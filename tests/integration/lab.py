"""Real penstock processes in a temporary directory: what every integration test starts from.

Standard library only. Every wait is for a condition, with a bound far beyond what a loaded machine needs; no test
depends on how long something takes. PENSTOCK_BIN names the directory of the programs.
"""

import contextlib
import glob
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

BIN = os.environ.get("PENSTOCK_BIN", "build/release/bin")
PATIENCE = 120  # seconds; only reached by what hangs


def program(name):
    return os.path.join(BIN, name)


def wait_until(condition, what, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain for " + what)
        time.sleep(0.01)


def udp_socket():
    """On a port of loopback of its own, roomy, and never waited for."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made


def made_keys():
    """Private keys that the run made beforehand, for each takes a second of a processor; none outside of ctest."""
    directory = os.environ.get("PENSTOCK_TEST_KEYS", "")
    return iter(sorted(glob.glob(os.path.join(directory, "*.pem")))) if directory else iter(())


def give_daemon(state, keys):
    """A daemon that starts with this state will have the next of the keys, unless it has one."""
    os.makedirs(state, mode=0o700, exist_ok=True)
    identity = os.path.join(state, "identity.key")
    if not os.path.exists(identity) and (key := next(keys, None)):
        shutil.copy(key, identity)


def give_client(home, token, keys):
    """A client that registers with this token will have the next of the keys. What is no token the client refuses."""
    if key := next(keys, None):
        subprocess.run([program("penstock-test-keys"), "client", home, key], input=token.encode(), stderr=subprocess.DEVNULL)


class Outcome:
    """How one penstock command ended: exit code, JSON lines, stderr."""

    def __init__(self, process, stdout, stderr):
        self.exit = process.returncode
        self.stdout = stdout
        self.stderr = stderr.decode(errors="replace")
        self.lines = []
        for line in stdout.decode().splitlines():
            if line.startswith("{"):
                self.lines.append(json.loads(line))

    @property
    def last(self):
        return self.lines[-1] if self.lines else {}

    @property
    def error(self):
        return self.last.get("name") if self.last.get("event") == "error" else None

    def events(self, name):
        return [line for line in self.lines if line["event"] == name]

    def __repr__(self):
        return "exit %s, last %s, stderr %s" % (self.exit, self.last, self.stderr)


class Daemon:
    def __init__(self, lab, root, state, listen=None, extra=(), prefix=()):
        listen = listen or "127.0.0.1:%d" % free_port()
        self.lab, self.root, self.state = lab, root, state
        self.log = []
        self.ready = threading.Event()
        self.process = subprocess.Popen(
            [*prefix, program("penstockd"), "serve", "--root", root, "--state", state, "--listen", listen, *extra],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        wait_until(lambda: self.ready.is_set() or self.process.poll() is not None, "the ready line")
        if not self.ready.is_set():
            self.reader.join()
            raise AssertionError("penstockd did not start: " + "".join(self.log))

    def _read(self):
        for raw in self.process.stderr:
            line = raw.decode(errors="replace")
            self.log.append(line)
            found = re.match(r"listening on (\S+):(\d+) fingerprint (SHA256:[0-9a-f]{64})", line)
            if found:
                self.port = int(found.group(2))
                self.fingerprint = found.group(3)
                self.ready.set()
        self.process.stderr.close()

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def logged(self, text):
        return any(text in line for line in self.log)

    def log_events(self, name):
        """Lines of this event; needs --log-format json."""
        lines = [json.loads(line) for line in list(self.log) if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        self.reader.join()

    def admin(self, *words):
        return subprocess.run(
            [program("penstockd"), *words, "--state", self.state], capture_output=True, timeout=PATIENCE
        )

    def token(self, user="ann", grants=("rw:/",), extra=()):
        words = ["token", "--user", user, *extra]
        for grant in grants:
            words += ["--grant", grant]
        made = self.admin(*words)
        assert made.returncode == 0, made.stderr
        return made.stdout.decode().strip()


class Person:
    """A client with a home of its own."""

    def __init__(self, lab, name="ann"):
        self.lab = lab
        self.prefix = []  # words in front of every command, such as nsenter's
        self.home = os.path.join(lab.dir, "home-" + name)
        self.environment = dict(os.environ, PENSTOCK_HOME=self.home, LC_ALL="C.UTF-8")
        self.environment.pop("PENSTOCK_TOKEN", None)

    def start(self, *words, **more):
        return subprocess.Popen(
            [*self.prefix, program("penstock"), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=more.pop("stdin", subprocess.DEVNULL),
            env=dict(self.environment, **more.pop("environment", {})),
            **more,
        )

    def run(self, *words, input=None, patience=PATIENCE, environment={}):
        process = self.start(
            *words, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL, environment=environment
        )
        try:
            stdout, stderr = process.communicate(input, timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            raise AssertionError("%r hung; stderr: %s" % (words, stderr.decode(errors="replace")))
        return Outcome(process, stdout, stderr)

    def register(self, daemon, token=None, *words):
        return self.register_at(daemon.address, token or daemon.token(), *words)

    def register_at(self, address, token, *words):
        give_client(self.home, token, self.lab.keys)
        return self.run("register", address, "--token", "-", "--json", *words, input=(token + "\n").encode())

    def json(self, *words, **more):
        return self.run(*words, "--json", **more)


class LabTest(unittest.TestCase):
    """One daemon, one registered client `ann`, and a directory to work in, for each test."""

    with_daemon = True

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="penstock-lab-")
        self.addCleanup(self._remove)
        self.daemons = []
        self.keys = made_keys()
        self.addCleanup(self._stop)
        self.ann = Person(self)
        if self.with_daemon:
            self.daemon = self.serve()
            self.register(self.ann)

    def _stop(self):
        for daemon in self.daemons:
            daemon.kill()

    def _remove(self):
        for place, directories, _ in os.walk(self.dir):
            for name in directories:
                full = os.path.join(place, name)
                # A link to a directory is listed here as well: chmod would follow it out of our own tree.
                if os.path.islink(full):
                    continue
                with contextlib.suppress(OSError):
                    os.chmod(full, 0o700)
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def serve(self, name="", listen=None, extra=(), prefix=()):
        root, state = self.path("root" + name), self.path("state" + name)
        os.makedirs(root, exist_ok=True)
        give_daemon(state, self.keys)
        daemon = Daemon(self, root, state, listen, extra, prefix)
        self.daemons.append(daemon)
        return daemon

    def register(self, person, daemon=None, **token):
        daemon = daemon or self.daemon
        outcome = person.register(daemon, daemon.token(**token))
        self.assertEqual(outcome.exit, 0, outcome)
        return outcome

    def remote(self, path, daemon=None):
        return (daemon or self.daemon).address + ":" + path

    def served(self, *parts):
        return os.path.join(self.daemon.root, *parts)

    def write(self, path, data=b"", mode=None):
        full = path if os.path.isabs(path) else self.path(path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as out:
            out.write(data)
        if mode is not None:
            os.chmod(full, mode)
        return full

    def random_file(self, path, size):
        """No two places of it look alike. The kernel's randomness would take most of a test's time: a piece of it is turned
        further for each that follows."""
        full = self.path(path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        piece = os.urandom(min(size, 1 << 22))
        with open(full, "wb") as out:
            for number in range(-(-size // len(piece)) if piece else 0):
                turned = number * 104_729 % len(piece)
                out.write(memoryview(piece[turned:] + piece[:turned])[: size - number * len(piece)])
        return full

    def relay_to(self, port, *words):
        """A penstock-udp-relay in front of a UDP port of loopback, until the test ends: its process and its own port."""
        relay = subprocess.Popen(
            [program("penstock-udp-relay"), "--listen", "127.0.0.1:0", "--target", "127.0.0.1:%d" % port, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(self.end_of_relay, relay)
        return relay, int(re.search(rb":(\d+)", relay.stdout.readline()).group(1))

    def end_of_relay(self, relay):
        """Nothing but a test may end it: what runs through a dead one only seems dark."""
        relay.send_signal(signal.SIGTERM)
        _, complaint = relay.communicate()
        self.assertIn(relay.returncode, (0, -signal.SIGKILL), complaint.decode())

    def start_until_bytes_flow(self, rate, *words):
        """Starts a transfer of ann's at this rate, and gives its process when bytes have arrived."""
        process = self.ann.start(*words, "--json", "--rate", rate)
        self.addCleanup(process.kill)
        for line in process.stdout:
            said = json.loads(line)
            if said["event"] == "progress" and said["bytes"] > 0:
                break
        self.assertIsNone(process.poll())
        return process

    def check(self, outcome, exit, name=None):
        """The exit code, the error's name, exactly one last line, and a sentence for people."""
        self.assertEqual(outcome.exit, exit, outcome)
        if name is not None:
            self.assertEqual(outcome.error, name, outcome)
            self.assertTrue(outcome.last.get("message"), outcome)
            self.assertEqual(outcome.last.get("exit"), exit, outcome)
        ends = [line for line in outcome.lines if line["event"] in ("done", "error")]
        if outcome.lines:
            self.assertEqual(len(ends), 1, outcome)
            self.assertIs(ends[0], outcome.lines[-1])
        return outcome

    def push(self, *words, person=None, **more):
        return (person or self.ann).json("push", *words, **more)

    def pull(self, *words, person=None, **more):
        return (person or self.ann).json("pull", *words, **more)

    @staticmethod
    def durable_blocks(state, journal_bytes=2000):
        """Blocks have become durable: a journal holds more than its first records."""
        place = os.path.join(state, "journals")
        with contextlib.suppress(FileNotFoundError):
            return any(
                os.stat(os.path.join(place, name)).st_size > journal_bytes for name in os.listdir(place) if name.endswith(".journal")
            )
        return False

    def nothing_half_written(self, directory):
        for place, _, files in os.walk(directory):
            for name in files:
                self.assertFalse(name.startswith(".penstock-"), os.path.join(place, name))

    def assert_equal_trees(self, a, b):
        run = subprocess.run(["diff", "-r", "--no-dereference", a, b], capture_output=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertEqual(self.attributes(a), self.attributes(b))

    @staticmethod
    def attributes(top):
        """Kind, mode, mtime and link target of everything beneath, by relative path in bytes."""
        top = os.fsencode(top)
        found = {}
        for place, directories, files in os.walk(top):
            for name in directories + files:
                full = os.path.join(place, name)
                info = os.lstat(full)
                kind = info.st_mode & 0o170000
                if kind == 0o120000:
                    found[os.path.relpath(full, top)] = (kind, os.readlink(full))
                else:
                    found[os.path.relpath(full, top)] = (kind, info.st_mode & 0o777, info.st_mtime_ns)
        return found


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def free_port():
    """For TCP and UDP, and below what the system gives to whoever connects: nobody takes it while a daemon is away."""
    while True:
        port = random.randrange(20000, 32768)
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(type=kind) as probe:
                    probe.bind(("127.0.0.1", port))
            return port
        except OSError:
            continue
