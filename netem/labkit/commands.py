"""Runs what the user wants to see in a lab: COMMAND in A, and another one in B for as long."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from .contain import BY_PROCESS
from .errors import LabError
from .spaces import PATIENCE, Spaces, host_of

READY_PATIENCE = 60.0  # seconds for the ready text of B's command; only reached by what hangs
_CHECK_EVERY = 0.25  # seconds between two looks at the back end while COMMAND runs


def fill(text: str, hosts: tuple[str, ...]) -> str:
    """`{A}` becomes A's IPv4 address, `{A6}` its IPv6 address, for every host of the lab; other braces stay."""

    def address(found: "re.Match[str]") -> str:
        if found[1] not in hosts:
            return found[0]
        host = host_of(found[1])
        return host.address6 if found[2] else host.address4

    return re.sub(r"\{([A-Z])(6?)\}", address, text)


class Companion:
    """B's command: a shell's text, in a process group of its own, so that Ctrl-C does not take it away before A has
    ended. Its output goes to stderr line by line, marked `B| `. A thread reads it."""

    def __init__(self, spaces: Spaces, text: str, ready: str) -> None:
        """`ready`: what a line must contain before `wait_ready` returns; empty for at once."""
        self._ready_text, self._ready = ready, threading.Event()
        self._process: subprocess.Popen[Any] = spaces.popen(
            "B",
            ["sh", "-c", text],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        """LabError when the command ends first, or never says it."""
        deadline = time.monotonic() + READY_PATIENCE
        while self._ready_text and not self._ready.wait(0.02):
            if self._process.poll() is not None:
                self._reader.join(1.0)
                if self._ready.is_set():
                    return
                code = self._process.returncode
                raise LabError(f"the command in B ended (exit {code}) before it said '{self._ready_text}'")
            if time.monotonic() > deadline:
                raise LabError(
                    f"the command in B did not say '{self._ready_text}' within {READY_PATIENCE:.0f} s (a program that writes"
                    " to a pipe may hold its lines back: iperf3 needs --forceflush)"
                )

    def stop(self) -> None:
        """SIGTERM to its group, after a while SIGKILL. A command that had ended by itself in error is said so."""
        code = self._process.poll()
        if code:
            print(f"lab: the command in B had ended by itself with exit {code}", file=sys.stderr)
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=PATIENCE)
                break
        self._reader.join(1.0)  # a grandchild may hold the pipe; the end of the lab ends it

    def _read(self) -> None:
        assert self._process.stdout
        for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            if self._ready_text and self._ready_text in line:
                self._ready.set()
            sys.stderr.write(f"B| {line}\n")  # at once: print writes the end of the line by itself, and A writes here too


def run_command(spaces: Spaces, argv: list[str], check: Callable[[], None]) -> int:
    """Runs COMMAND in A on our stdin, stdout and stderr, and gives its exit code, 128 + n if signal n ended it. A signal
    that a process sends us is handed to it; what the terminal sends (Ctrl-C) it gets from there, as we do, and once.
    LabError, and COMMAND is not waited for, when `check` finds the link broken."""
    process = spaces.popen("A", argv)

    def hand_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(BY_PROCESS.get(number, number))

    def leave_it_to_command(_number: int, _: object) -> None:
        """COMMAND got it too."""

    handlers = dict.fromkeys((signal.SIGINT, signal.SIGHUP, signal.SIGQUIT), leave_it_to_command)
    handlers |= dict.fromkeys((signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, *BY_PROCESS), hand_on)
    replaced = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        while True:
            try:
                code = process.wait(timeout=_CHECK_EVERY)
                return code if code >= 0 else 128 - code
            except subprocess.TimeoutExpired:
                check()
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
