"""A lab that stays up after the command that made it: a process of its own that answers on a socket (state.py)."""

import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from typing import Any

from . import report, state, words
from .contain import contain, person
from .errors import LabError, UsageError
from .lab import Lab
from .settings import DIRECTIONS, LabSettings, read_directions

PEER_PATIENCE = 5.0  # seconds for a request to arrive, so that a peer that says nothing does not block the others


def up(name: str, settings: LabSettings) -> str:
    """Starts a lab in the background and gives its first line once it is ready. LabError when the name is taken, or as
    Lab says; then nothing is left behind."""
    place = state.socket_of(name)
    settings.checked()
    lock = os.open(place.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise LabError(f"a lab '{name}' is up already; end it with: netem/lab down {name}") from None
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    if os.fork() == 0:
        ours.close()
        _serve_and_exit(name, settings, lock, theirs)
    theirs.close()
    os.close(lock)  # the child holds it, and with it the name
    told, _ = state.ask(ours, {"do": "tell"})
    ours.close()
    return str(told["line"])


def _serve_and_exit(name: str, settings: LabSettings, lock: int, starter: socket.socket) -> None:
    """The child: cut loose from the terminal, ready when `starter` hears so."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.chdir("/")
        try:
            contain()
            # The lock is this lab's name; all three processes of contain() hold it, and all end together.
            _serve(name, settings, starter)
        except LabError as error:
            state.answer(starter, {"ok": False, "usage": isinstance(error, UsageError), "message": str(error)})
    except BaseException as error:  # whatever it is, the starter must not wait for ever
        state.answer(starter, {"ok": False, "usage": False, "message": f"{type(error).__name__}: {error}"})
    finally:
        with contextlib.suppress(OSError):
            os.close(lock)
        os._exit(0)


def _serve(name: str, settings: LabSettings, starter: socket.socket) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    place = state.socket_of(name)
    with Lab(settings) as lab, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        place.unlink(missing_ok=True)  # of a lab that was killed: we hold the lock
        listener.bind(str(place))
        try:
            os.chmod(place, 0o600)
            listener.listen(16)
            line = report.first_line(settings, lab.back_end, lab.note)
            state.read_request(starter)
            state.answer(starter, {"ok": True, "line": line})
            starter.close()
            began = time.time()
            with contextlib.suppress(_Ended):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(PEER_PATIENCE)
                        if _handle(connection, lab, line, began):
                            break
        finally:
            place.unlink(missing_ok=True)


class _Ended(BaseException):
    """SIGTERM, SIGINT or SIGHUP."""


def _end(*_: object) -> None:
    raise _Ended


def _handle(connection: socket.socket, lab: Lab, line: str, began: float) -> bool:
    """Answers one request. True when it was the last."""
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        request = state.read_request(connection)
        if not request:
            return False
        try:
            match request.get("do"):
                case "status":
                    state.answer(connection, {"ok": True, "status": _status(lab, line, began)})
                case "set":
                    _set(lab, request)
                    state.answer(connection, {"ok": True})
                case "start":
                    if not lab.clock_runs:  # it belongs to the first command
                        lab.start_clock()
                    state.answer(connection, {"ok": True})
                case "check":
                    lab.check()
                    state.answer(connection, {"ok": True})
                case "spaces":
                    _lend_spaces(connection, lab)
                case "down":
                    lab.spaces.end_processes()
                    state.answer(connection, {"ok": True, "counters": lab.counters()})
                    return True
                case other:
                    raise UsageError(f"a lab does not know how to do '{other}'")
        except LabError as error:
            state.answer(connection, {"ok": False, "usage": isinstance(error, UsageError), "message": str(error)})
    return False


def _set(lab: Lab, request: dict[str, Any]) -> None:
    text = str(request.get("words"))
    for direction in read_directions(str(request.get("direction"))):
        lab.set_link(str(request.get("leg")), direction, text)


def _lend_spaces(connection: socket.socket, lab: Lab) -> None:
    descriptors = lab.spaces.descriptors()
    body = {"ok": True, "hosts": list(descriptors), "user_space": person().mapped}
    lent = list(descriptors.values())
    if not person().mapped:
        state.answer(connection, body, lent)
        return
    user = os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        state.answer(connection, body, [user, *lent])
    finally:
        os.close(user)


def _status(lab: Lab, line: str, began: float) -> dict[str, Any]:
    told = {name: {way: words.text_of(leg.pairs(way)) for way in DIRECTIONS} for name, leg in lab.legs.items()}
    changes = [
        {
            "at_s": change.after_ns / 1e9,
            "leg": change.leg,
            "direction": change.direction,
            "words": words.text_of(change.pairs),
        }
        for change in lab.settings.changes_in_order()
    ]
    return {
        "back_end": lab.back_end,
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "line": line,
        "hosts": {name: {"address4": host.address4, "address6": host.address6} for name, host in lab.hosts.items()},
        "mtu": lab.settings.mtu,
        "legs": told,
        "changes": changes,
        "clock_runs": lab.clock_runs,
        "counters": lab.counters(),
    }
