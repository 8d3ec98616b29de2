"""Labs that stay up: where they are found, and how one talks to them.

Each has NAME.sock in a directory of the user's own: $XDG_RUNTIME_DIR/penstock-lab, else /tmp/penstock-lab-UID (mode
0700). One request and one answer a connection, each one JSON object on one line:

    {"do":"status"}                                        {"ok":true,"status":{...}}
    {"do":"set","leg":"A","direction":"up","words":"..."}  {"ok":true}
    {"do":"spaces"}                                        {"ok":true,...} with descriptors: the user namespace if the
                                                           lab has one of its own, then the hosts' network namespaces
    {"do":"start"}, {"do":"check"}, {"do":"down"}          {"ok":true}
    anything else, or what fails                           {"ok":false,"usage":true|false,"message":"..."}

A socket that nobody listens on any more is what a killed lab leaves; whoever meets it removes it."""

import array
import contextlib
import json
import os
import re
import socket
import stat
from pathlib import Path
from typing import Any

from .contain import outer_uid
from .errors import LabError, UsageError

_LINE_MOST = 1 << 20
_DESCRIPTORS_MOST = 32


def directory() -> Path:
    """The user's directory of running labs; made if missing. LabError when it is somebody else's."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        place = Path(runtime) / "penstock-lab"
    else:
        place = Path(f"/tmp/penstock-lab-{outer_uid()}")
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise LabError(f"{place} is not a directory of yours alone (mode 0700); remove it")
    return place


def socket_of(name: str) -> Path:
    """Where a lab of this name listens. UsageError for a name that is none."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name):
        raise UsageError(f"'{name}' is no name for a lab: lower-case letters, digits and -, at most 32")
    return directory() / f"{name}.sock"


def connect(name: str) -> socket.socket:
    """A connection to a running lab. LabError naming those that run when it does not."""
    place = socket_of(name)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(place))
        return connection
    except ConnectionRefusedError:
        with contextlib.suppress(FileNotFoundError):
            place.unlink()
    except FileNotFoundError:
        pass
    connection.close()
    running = " ".join(names()) or "none"
    raise LabError(f"no lab '{name}' is up (up are: {running}); start one with: netem/lab up {name} --delay 50ms ...")


def names() -> list[str]:
    """The labs that answer, sorted; sockets that killed ones left are removed."""
    found = []
    for place in sorted(directory().glob("*.sock")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.connect(str(place))
                found.append(place.stem)
            except ConnectionRefusedError:
                with contextlib.suppress(FileNotFoundError):
                    place.unlink()
            except FileNotFoundError:
                pass
    return found


def ask(connection: socket.socket, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """Sends a request, gives the answer and the descriptors that came with it (the caller's to close). UsageError or
    LabError as the lab said."""
    connection.sendall(json.dumps(request).encode() + b"\n")
    answer, descriptors = _receive(connection)
    if not answer.get("ok"):
        message = str(answer.get("message", "the lab ended"))
        raise UsageError(message) if answer.get("usage") else LabError(message)
    return answer, descriptors


def ask_once(name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Connects to a lab by name and asks."""
    with connect(name) as connection:
        return ask(connection, request)[0]


def read_request(connection: socket.socket) -> dict[str, Any]:
    """The lab's side: the request, or an empty one from a peer that only looked whether we are there."""
    return _receive(connection)[0]


def answer(connection: socket.socket, body: dict[str, Any], descriptors: list[int] | None = None) -> None:
    """The lab's side: one answer. A peer that has gone is its own loss."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        line = json.dumps(body).encode() + b"\n"
        sent = socket.send_fds(connection, [line], descriptors) if descriptors else connection.send(line)
        connection.sendall(line[sent:])


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, descriptors = b"", array.array("i")
    while not data.endswith(b"\n") and len(data) < _LINE_MOST:
        piece, more, _, _ = socket.recv_fds(connection, 65536, _DESCRIPTORS_MOST)
        descriptors.extend(more)
        if not piece:
            break
        data += piece
    try:
        body = json.loads(data) if data else {}
    except ValueError:
        body = {}
    return (body if isinstance(body, dict) else {}), list(descriptors)
