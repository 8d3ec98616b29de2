"""The user-space back end: one `penstock-link-emulator` process, told what to do on its command line and its stdin
(netem/emulator/README.md)."""

import json
import subprocess
import tempfile
from typing import Any

from . import programs, words
from .errors import LabError, UsageError
from .settings import DIRECTIONS, Direction, LabSettings
from .spaces import Spaces, host_of
from .words import Pairs

PROGRAM = "penstock-link-emulator"


def command_line(settings: LabSettings, places: dict[str, str], program: str) -> list[str]:
    """The emulator's arguments for these settings; `places` are the files of the hosts' namespaces."""
    argv = [program, "--mtu", str(settings.mtu), "--corrupt-reach", settings.corrupt_reach]
    if settings.seed is not None:
        argv += ["--seed", str(settings.seed)]
    for name in settings.hosts:
        host = host_of(name)
        argv += ["--host", f"{name}:ns={places[name]},address={host.address4}/24,address={host.address6}/64"]
    for name, leg in settings.legs.items():
        for direction in DIRECTIONS:
            if leg.pairs(direction):
                argv += ["--leg", f"{name}:{direction}:{words.text_of(leg.pairs(direction))}"]
    for change in settings.changes:
        after = words.text_of_duration(change.after_ns)
        argv += ["--change", f"{change.leg}:{change.direction}@{after}:{words.text_of(change.pairs)}"]
    return argv


class Emulator:
    """A running emulator. Owns the process; it ends with its stdin, hence with us whatever happens."""

    name = "emulator"

    def __init__(self, spaces: Spaces, settings: LabSettings, note: str = "") -> None:
        self.note = note
        self._legs = settings.legs  # the emulator also tells of hosts that sit at the hub itself
        programs.need_tun()
        argv = command_line(settings, {name: spaces.path(name) for name in settings.hosts}, programs.ours(PROGRAM))
        # Not a pipe: nobody would read it while the lab runs.
        self._complaints = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            bufsize=1,
            start_new_session=True,  # Ctrl-C ends COMMAND, not the link under it
        )
        try:
            self._read("ready")
        except BaseException:
            self.close()
            raise

    def start_clock(self) -> None:
        self._ask("start", "started")

    def set_link(self, leg: str, direction: Direction, pairs: Pairs) -> None:
        self._ask(f"set {leg} {direction} {words.text_of(pairs)}", "set")

    def counters(self) -> dict[str, Any]:
        told = self._ask("counters", "counters")
        del told["event"]
        told["legs"] = {name: ways for name, ways in told["legs"].items() if name in self._legs}
        return told

    def check(self) -> None:
        """LabError when the emulator has died: the hosts are cut off."""
        if self._process.poll() is not None:
            raise self._death()

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._complaints.close()

    def _ask(self, line: str, answer: str) -> dict[str, Any]:
        assert self._process.stdin
        if "\n" in line:
            raise UsageError("link words do not span lines")
        try:
            self._process.stdin.write(line + "\n")
        except BrokenPipeError:
            raise self._death() from None
        return self._read(answer)

    def _read(self, answer: str) -> dict[str, Any]:
        """The next line that is an answer; news of changes are skipped."""
        assert self._process.stdout
        for line in self._process.stdout:
            news: dict[str, Any] = json.loads(line)
            if news["event"] == answer:
                return news
            if news["event"] == "error":
                raise UsageError(str(news["message"]))
        raise self._death()

    def _death(self) -> LabError:
        code = self._process.wait()
        self._complaints.seek(0)
        said = self._complaints.read().strip().splitlines()
        return LabError(f"{PROGRAM} ended (exit {code}): {said[-1] if said else 'it did not say why'}")
