"""The hosts' network namespaces, and programs started in them.

A namespace is anonymous: a descriptor of ours keeps it alive, and it ends with us. Programs are started by nsenter(1),
and when we are root only by a user namespace's grace, unshare(1) gives them the user's own name back."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from . import programs
from .contain import person
from .errors import LabError
from .settings import HOSTS

PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL


@dataclass(frozen=True)
class Host:
    """One end of a lab."""

    name: str
    address4: str
    address6: str


def host_of(name: str) -> Host:
    """A is 10.77.0.1 and fd77::1, B is 2, and so on."""
    number = HOSTS.index(name) + 1
    return Host(name, f"10.77.0.{number}", f"fd77::{number:x}")


def own_pid() -> int:
    """Our number in the /proc that is mounted, which is not ours by right where a container forbids mounting it."""
    return int(os.readlink("/proc/self"))


class Spaces:
    """Network namespaces by name, and the processes in them. Owns the descriptors. Requires: `contain()` was called."""

    def __init__(self, hosts: tuple[str, ...], adopted: dict[str, int] | None = None) -> None:
        """Makes a namespace a host, with loopback up; or takes over descriptors of namespaces that are there (then
        they are somebody else's: `end_processes` leaves processes there alone that we did not start)."""
        self._person = person()
        self.hosts = {name: host_of(name) for name in hosts}
        self._descriptors: dict[str, int] = {}
        self._started: list[subprocess.Popen[Any]] = []
        self._adopted = adopted is not None
        programs.need("nsenter", "unshare", "ip")
        try:
            for name in hosts:
                if adopted is not None:
                    self._descriptors[name] = adopted[name]
                else:
                    self.add(name)
                    # So that ping(8) needs no privilege; in a user namespace only its one group exists.
                    self.write_sysctl(name, "net/ipv4/ping_group_range", "0 0" if self._person.mapped else "0 2147483647")
        except BaseException:
            self.close()
            raise

    def add(self, name: str) -> None:
        """Makes one more namespace (a back end's routers), with loopback up."""
        self._descriptors[name] = _make_network_namespace()
        self.run(name, ["ip", "link", "set", "lo", "up"])

    def path(self, name: str) -> str:
        """The namespace's file; good as long as this process lives."""
        return f"/proc/{own_pid()}/fd/{self._descriptors[name]}"

    def descriptors(self) -> dict[str, int]:
        """Of the hosts' namespaces, to be handed to another process. They stay ours."""
        return {name: self._descriptors[name] for name in self.hosts}

    def run(self, name: str, argv: list[str], text: str = "") -> str:
        """Runs a set-up command in a namespace as (its) root, with `text` on stdin; gives its stdout. LabError with
        its complaint when it fails."""
        done = subprocess.run(
            ["nsenter", f"--net={self.path(name)}", "--", *argv], input=text, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[0]
            raise LabError(f"{' '.join(argv)} failed in host {name}: {said}")
        return done.stdout

    def write_sysctl(self, name: str, key: str, value: str) -> None:
        """Sets a sysctl of one network namespace."""
        self.run(name, ["sh", "-c", 'printf %s "$1" > "/proc/sys/$2"', "sh", value, key])

    def popen(self, host: str, argv: list[str], **options: Any) -> "subprocess.Popen[Any]":
        """Starts a program in a host as the user whose lab it is; see Lab.popen."""
        if host not in self.hosts:
            raise LabError(f"there is no host {host}; this lab has {' '.join(self.hosts)}")
        words = ["nsenter", f"--net={self.path(host)}", "--"]
        if self._person.mapped:
            words += ["unshare", "--user", f"--map-user={self._person.uid}", f"--map-group={self._person.gid}", "--"]
        process = subprocess.Popen([*words, *argv], **options)
        self._started.append(process)
        return process

    def end_processes(self) -> None:
        """Ends what still runs in our namespaces, and what we started: SIGTERM, then SIGKILL."""
        if not self._left():
            return
        for signal_number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
            deadline = time.monotonic() + patience
            for pid in self._left():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal_number)
            while self._left():
                if time.monotonic() > deadline:
                    break
                time.sleep(0.005)
            else:
                return
        raise LabError(f"processes {self._left()} do not end")

    def close(self) -> None:
        """Lets go of the namespaces."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _left(self) -> set[int]:
        """Processes that are still there: started by us, or found in a host."""
        left = {process.pid for process in self._started if process.poll() is None}
        if self._adopted or own_pid() != os.getpid():  # /proc has other numbers than kill(2)
            return left
        ours = {os.fstat(self._descriptors[name]).st_ino for name in self.hosts}
        for entry in os.listdir("/proc"):
            if not entry.isdecimal():
                continue
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry}/ns/net").st_ino in ours and _state(int(entry)) != "Z":
                    left.add(int(entry))
        return left


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def _make_network_namespace() -> int:
    """A descriptor of a new network namespace. unshare(1) makes it and cat(1) holds it while we open it."""
    with subprocess.Popen(
        ["unshare", "--net", "--", "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as holder:
        assert holder.stdin and holder.stdout and holder.stderr
        if holder.stdout.readline() != b"\n":
            raise LabError("no network namespace: " + holder.stderr.read().decode(errors="replace").strip())
        # Its number in /proc is known by the parent's list of children, whatever /proc is mounted.
        return os.open(f"/proc/{_number_in_proc(holder.pid)}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _number_in_proc(child: int) -> int:
    """A child's number in the mounted /proc."""
    if own_pid() == os.getpid():
        return child
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{entry}/status", encoding="utf-8", errors="replace") as status:
            fields = dict(line.split(":", 1) for line in status.read().splitlines() if ":" in line)
            if fields["PPid"].strip() == str(own_pid()) and fields["NSpid"].split()[-1] == str(child):
                return int(entry)
    raise LabError("/proc does not show our own processes; mount one, or run outside this container")
