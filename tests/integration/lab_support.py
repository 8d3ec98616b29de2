"""What the tests of netem/lab share: running it, and finding what it might leave behind."""

import contextlib
import os
import subprocess
import time
import unittest
import uuid

HOUSE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAB = os.path.join(HOUSE, "netem", "lab")
PATIENCE = 60  # seconds; only reached by what hangs
_UNABLE = ("/dev/net/tun", "user namespace", "network namespace", "install with")


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain for " + what)
        time.sleep(0.01)


def _why_unable():
    """Why this machine can run no lab at all; empty when it can. A lab that is broken is no reason to skip its tests."""
    tried = subprocess.run([LAB, "run", "--", "true"], capture_output=True, text=True, timeout=PATIENCE)
    return tried.stderr.strip() if tried.returncode == 125 and any(word in tried.stderr for word in _UNABLE) else ""


class LabCommandTest(unittest.TestCase):
    """Every lab of a test is marked in its environment, and so are all its descendants."""

    @classmethod
    def setUpClass(cls):
        if why := _why_unable():
            raise unittest.SkipTest(why)

    def setUp(self):
        self.mark = "PENSTOCK_LAB_TEST=" + uuid.uuid4().hex
        name, _, value = self.mark.partition("=")
        self.environment = dict(os.environ, **{name: value})
        self.devices = self.devices_outside()
        self.addCleanup(self.nothing_is_left)

    def start(self, *words, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen([LAB, *words], env=dict(self.environment, **options.pop("environment", {})), **options)

    def lab(self, *words, input=None, patience=PATIENCE, **options):
        """Runs netem/lab to its end; gives the completed process."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
        process = self.start(*words, **options)
        try:
            out, err = process.communicate(input, timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def descendants(self):
        """Processes that a lab of this test started and that still live, by pid."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdecimal() and int(entry) != os.getpid():
                with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as environ:
                    if self.mark.encode() in environ.read().split(b"\0"):
                        found.append(int(entry))
        return found

    def nothing_is_left(self):
        """No process, and hence nothing that could hold an anonymous namespace or a device in it."""
        wait_until(lambda: not self.descendants(), "the lab's processes to end")
        self.assertEqual(self.devices_outside(), self.devices)

    def namespace_is_gone(self, inode):
        """No process and no descriptor on this machine refers to a network namespace."""
        name = f"net:[{inode}]"
        for entry in os.listdir("/proc"):
            if not entry.isdecimal():
                continue
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{entry}/ns/net") == name:
                    return False
                for descriptor in os.listdir(f"/proc/{entry}/fd"):
                    with contextlib.suppress(OSError):
                        if os.readlink(f"/proc/{entry}/fd/{descriptor}") == name:
                            return False
        return True

    @staticmethod
    def devices_outside():
        """The network devices of the namespace that the test itself runs in."""
        with open("/proc/self/net/dev", encoding="ascii") as devices:
            return sorted(line.split(":")[0].strip() for line in devices.readlines()[2:])


def children(pid):
    """Of a process, by pid."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listed:
        return [int(child) for child in listed.read().split()]
