"""Puts the calling program into a PID namespace (and, unless it is root, a user namespace), so that nothing it starts
can outlive it.

    caller ── forks ──> warden (PID 1 inside) ── forks ──> the program goes on here
    waits,              reaps orphans,                     its commands, its emulator
    forwards signals    forwards signals

Whichever of the three dies, and however, the kernel ends all the rest: the warden has a parent-death signal from the
caller, the warden ends when the program ends, and the end of PID 1 is the end of its namespace. Namespaces and devices
are held by those processes alone, so they go too. The C library is called directly because Python 3.11 has no unshare."""

import ctypes
import errno
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from typing import NoReturn

from .errors import LabError
from .programs import use_sbin

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_MS_REC, _MS_PRIVATE, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 16384, 1 << 18, 2, 4, 8
_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
# A terminal sends these to everybody in its foreground, us and our commands. The same from another process is forwarded
# under another number, so that the program knows that its command has not heard it.
BY_PROCESS: dict[int, int] = {
    signal.SIGRTMIN: signal.SIGINT,
    signal.SIGRTMIN + 1: signal.SIGHUP,
    signal.SIGRTMIN + 2: signal.SIGQUIT,
}

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Person:
    """Whose the lab is: the user and group that its commands run as. `mapped`: we sit in a user namespace where that
    user is called root, and commands are given their own name back."""

    uid: int
    gid: int
    mapped: bool


_person: Person | None = None


def person() -> Person:
    """Who called `contain()`. LabError when nobody did: a lab would leave processes behind."""
    if _person is None:
        raise LabError("call labkit.contain() before making a lab, so that nothing outlives the program")
    return _person


def outer_uid() -> int:
    """The user's number outside of any namespace of ours."""
    return _person.uid if _person else os.getuid()


def contain(join_user: int | None = None) -> None:
    """Returns once, in a child process; the calling process stays behind, forwards signals, and exits as the child does.
    A second call does nothing. PATH has the
    sbin directories from then on. `join_user`: descriptor of a user namespace to enter instead of a new one (of a lab that
    runs already). Requires: one thread. LabError: what is missing, and how to get it; the process is then
    good for nothing but saying so."""
    global _person
    if _person is not None:
        return
    use_sbin()
    privileged = _has_privilege()
    who = Person(os.getuid(), os.getgid(), join_user is not None or not privileged)
    if join_user is not None:
        _call("setns", _libc.setns(join_user, CLONE_NEWUSER))
    elif not privileged:
        _enter_user_namespace(who)
    _unshare(CLONE_NEWPID | CLONE_NEWNS)
    # What is mounted in here stays in here: the next mount would else hide the outside's /proc.
    _call("mount", _libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [*_FORWARDED, signal.SIGCHLD])
    alive, held = os.pipe()
    warden = _fork()
    if warden:
        os.close(alive)
        _watch(warden, {})  # `held` stays open as long as we live
    os.close(held)
    _call("prctl", _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if select.select([alive], [], [], 0)[0]:  # the caller died before it could be our death
        os._exit(1)
    # Without a /proc of our own (a container may forbid it) the outer one serves; see spaces.own_pid.
    _libc.mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)
    child = _fork()
    if child:
        _watch(child, {number: renamed for renamed, number in BY_PROCESS.items()})
    os.close(alive)
    for renamed in BY_PROCESS:
        signal.signal(renamed, lambda number, _: signal.raise_signal(BY_PROCESS[number]))
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _person = who


def unshare_network() -> None:
    """Gives the calling process a network namespace of its own. LabError where the kernel refuses."""
    _unshare(CLONE_NEWNET)


def _watch(child: int, renamed: dict[int, int]) -> NoReturn:
    """Forwards signals to `child`, reaps whatever dies, exits as the child does. What the terminal sends to all of us
    the child has got already."""
    while True:
        news = signal.sigwaitinfo([*_FORWARDED, signal.SIGCHLD])
        if news.si_signo != signal.SIGCHLD:
            if news.si_code <= 0:  # by a process (SI_USER and kin), not by the kernel's terminal
                os.kill(child, renamed.get(news.si_signo, news.si_signo))
            continue
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if ended == 0:
                break
            if ended == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)


def _fork() -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fork()


def _has_privilege() -> bool:
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                caps = int(line.split()[1], 16)
                return bool(caps >> _CAP_NET_ADMIN & 1 and caps >> _CAP_SYS_ADMIN & 1)
    return False


def _enter_user_namespace(who: Person) -> None:
    _unshare(CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {who.uid} 1"), ("gid_map", f"0 {who.gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            why = f"{name}: {error.strerror}"
            raise LabError(f"the kernel does not let you be root in a user namespace ({why}); run as root") from error


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) == 0:
        return
    code = ctypes.get_errno()
    if flags & CLONE_NEWUSER:
        how = {
            errno.EPERM: "this machine forbids it: as root, set kernel.unprivileged_userns_clone=1"
            " (kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu); in a container, add"
            " --cap-add NET_ADMIN --cap-add SYS_ADMIN",
            errno.ENOSPC: "user.max_user_namespaces is used up or 0: as root, sysctl user.max_user_namespaces=1000",
        }.get(code, "this kernel has no user namespaces (CONFIG_USER_NS)")
        raise LabError(f"a lab needs root or a user namespace, and {how}")
    raise LabError(
        f"the kernel gives no new PID, mount or network namespace ({os.strerror(code)}): it needs CONFIG_PID_NS and"
        " CONFIG_NET_NS; in a container, --cap-add NET_ADMIN --cap-add SYS_ADMIN and a seccomp profile that allows unshare"
    )


def _call(what: str, result: int) -> None:
    if result != 0:
        raise LabError(f"{what}: {os.strerror(ctypes.get_errno())}")


def peer_pid(connection: socket.socket) -> int:
    """The process at the other end of a Unix socket, as this PID namespace numbers it."""
    return int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), sys.byteorder)
