"""A lab that lives as long as a `with` block: hosts joined by links, commands in hosts, changes, counters.

    import labkit
    labkit.contain()                                     # first of all, before any thread
    settings = labkit.LabSettings.of("delay=25ms,rate=500mbit,queue=1bdp,loss=1%")
    with labkit.Lab(settings) as lab:
        server = lab.popen("B", ["iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
        lab.start_clock()
        lab.popen("A", ["iperf3", "-c", lab.hosts["B"].address4]).wait()
        print(lab.back_end, lab.counters()["legs"]["A"]["up"]["lost_random"])
"""

import subprocess
from typing import Any

from . import words
from .back_end import open_back_end
from .errors import UsageError
from .settings import Direction, LabSettings
from .spaces import Host, Spaces


class Lab:
    """Threads: one at a time may call it. Several labs may exist at once; all use the same addresses, each in namespaces
    of its own. Requires: `contain()` was called in this process. Entering it raises UsageError for settings that make no
    sense, LabError for what the machine lacks; in both cases nothing is left behind. Leaving it ends every process that
    still runs in its namespaces (SIGTERM, after 5 s SIGKILL)."""

    def __init__(self, settings: LabSettings) -> None:
        self.settings = settings.checked()
        self.legs = dict(settings.legs)  # the words as `set_link` left them; timed changes are not in it
        self.clock_runs = False

    def __enter__(self) -> "Lab":
        self.spaces = Spaces(self.settings.hosts)
        try:
            self._back_end = open_back_end(self.spaces, self.settings)
        except BaseException:
            self.spaces.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.spaces.end_processes()
        finally:
            try:
                self._back_end.close()
            finally:
                self.spaces.close()

    @property
    def hosts(self) -> dict[str, Host]:
        """By name, A first; `address4`, `address6` are plain texts without prefix."""
        return self.spaces.hosts

    @property
    def back_end(self) -> str:
        """`tc` or `emulator`: which one carries the packets."""
        return self._back_end.name

    @property
    def note(self) -> str:
        """Why this back end, when that is worth a word; else empty."""
        return self._back_end.note

    def popen(self, host: str, argv: list[str], **options: Any) -> "subprocess.Popen[Any]":
        """Starts a program in a host, with the options of subprocess.Popen. The process is the program itself (nothing
        in between), so signals, rusage and exit code are its own. It runs as the user who started the lab. A program
        that does not exist ends with 127 and says so on stderr."""
        return self.spaces.popen(host, argv, **options)

    def start_clock(self) -> None:
        """The changes of the settings count from now. May be called once."""
        self._back_end.start_clock()
        self.clock_runs = True

    def set_link(self, leg: str, direction: Direction, text: str) -> None:
        """Sets words over those of a running leg: set_link("A", "up", "loss=5%,rate=10mbit"). Holds for packets offered
        from then on. UsageError when they make no sense; then nothing changed."""
        pairs = words.read_pairs(text)
        if leg not in self.legs:
            raise UsageError(f"there is no leg {leg}; this lab has {' '.join(self.legs)}")
        words.set_pairs(self.legs[leg].link(direction), pairs)
        self._back_end.set_link(leg, direction, pairs)
        self.legs[leg] = self.legs[leg].over(pairs if direction == "up" else (), pairs if direction == "down" else ())

    def check(self) -> None:
        """LabError when the link has broken (the emulator died, a change failed): what runs in the lab is cut off."""
        self._back_end.check()

    def counters(self) -> dict[str, Any]:
        """What became of the packets so far, the same for every back end:
        `seconds` since the lab began; `legs`: {leg: {"up": {...}, "down": {...}}} with offered_packets offered_bytes
        delivered_packets delivered_bytes lost_random lost_burst lost_queue lost_policer lost_down lost_mtu marked
        duplicated corrupted reordered; `overruns` and `overflows`: packets lost beyond what was told (0, or the run is worth nothing).
        The emulator adds `lateness_us`, `hosts`, `in_flight` (netem/emulator/README.md). What tc can not count is None."""
        return self._back_end.counters()
