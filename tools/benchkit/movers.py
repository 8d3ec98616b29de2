"""The ways of moving a file that are measured here: ourselves, the machine's limit, and what others use. Others' tools are
those of netem/contest, run as there."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

from contest.contender import Client, Contender, Server, Task
from contest.penstock import PENSTOCK_PORT, Penstock
from contest.tcp_tools import Iperf, RsyncDaemon, Scp
from labkit import LabError
from labkit.programs import ours

from .measure import json_line

BLAST = "penstock_bench_blast"
UNREAD = "penstock-unread-files.so"
_BLAST_PORT = 7450
# Far above what a veth carries: `fixed` then sends as fast as receiver and processor let it.
FIXED_RATE_BPS = 40_000_000_000


class Blast(Contender):
    """The machine's limit: tools/benchmarks/README.md. `clear`: datagrams alone. `reads`, `writes`: the file's ends."""

    congestion = None

    def __init__(self, name: str, remark: str, clear: bool = False, reads: bool = False, writes: bool = False) -> None:
        self.name, self.remark, self.writes_file = name, remark, writes
        self._clear, self._reads = clear, reads

    def missing(self) -> str | None:
        return absent(BLAST)

    def server(self, task: Task) -> Server:
        into = ["--into", str(task.target / task.source.name)] if self.writes_file else []
        return Server([ours(BLAST), "receive", "--listen", f"{task.address}:{_BLAST_PORT}", *into], _BLAST_PORT, ends_itself=True)

    def client(self, task: Task) -> Client:
        what = ["--from", str(task.source)] if self._reads else ["--bytes", str(task.source.stat().st_size)]
        return Client([ours(BLAST), "send", f"{task.address}:{_BLAST_PORT}", *(["--clear"] if self._clear else []), *what])

    def arrived(self, said: Path) -> tuple[int, int]:
        """Bytes that arrived, and bytes that were sent: nothing is repeated, so what is lost stays lost."""
        told = json_line(said)
        return int(told["arrived"]), int(told["total"])


class Pull(Penstock):
    """The same the other way: B's file comes to A."""

    pulls = True

    def __init__(self) -> None:
        super().__init__("penstock pull", "encrypted, verified")

    def server(self, task: Task) -> Server:
        return self._daemon(str(task.workspace.keep / "penstock"), str(task.source.parent), task.address)

    def client(self, task: Task) -> Client:
        plan = super().client(task)
        where = f"{task.address}:{PENSTOCK_PORT}:/{task.source.name}"
        return replace(plan, argv=[plan.argv[0], "pull", "-q", where, f"{task.target}/"])


class Discarding(Penstock):
    """A daemon that throws away what it has taken: the network path alone. Such a push says that it is not complete."""

    writes_file = False
    exit_status = 10

    def server(self, task: Task) -> Server:
        plan = super().server(task)
        return replace(plan, argv=[*plan.argv, "--discard"])


class Unread(Discarding):
    """The same, and the source is not read either: a preloaded library answers the client's large reads."""

    def __init__(self) -> None:
        super().__init__("penstock, discarded and not read", "encrypted, digested; no file is read or written")

    def missing(self) -> str | None:
        return super().missing() or absent(UNREAD)

    def client(self, task: Task) -> Client:
        plan = super().client(task)
        return replace(plan, environment={**plan.environment, "LD_PRELOAD": ours(UNREAD)})


class EndingIperf(Iperf):
    """`iperf3 -s -1` ends by itself once it has told the client its figures."""

    def __init__(self, congestion: str) -> None:
        super().__init__(congestion)
        self.name = f"iperf3 {congestion}"

    def server(self, task: Task) -> Server:
        return replace(super().server(task), ends_itself=True)


class Rsync(RsyncDaemon):
    """With cubic, and trees too."""

    def __init__(self) -> None:
        super().__init__("cubic")
        self.name = "rsync daemon"

    def client(self, task: Task) -> Client:
        plan = super().client(task)
        return replace(plan, argv=[plan.argv[0], "-a", *plan.argv[1:]]) if task.source.is_dir() else plan


class ScpTree(Scp):
    """scp, which wants to be told that it is a tree."""

    def client(self, task: Task) -> Client:
        plan = super().client(task)
        return replace(plan, argv=[plan.argv[0], "-r", *plan.argv[1:]]) if task.source.is_dir() else plan


def absent(program: str) -> str | None:
    """Why a program of ours can not run, or None."""
    try:
        ours(program)
    except LabError as error:
        return str(error)
    return None


def controllers(help_text: str) -> tuple[list[str], str | None]:
    """What `penstock push --help` offers for --cc, and which of them is the default."""
    found = re.search(r"^ +--cc (\S+)\n(.*?)(?=^ +--|\Z)", help_text, re.MULTILINE | re.DOTALL)
    if not found:
        return [], None
    default = re.search(r"\[default: (\w+)", found[2])
    return found[1].split("|"), default[1] if default else None


def our_controllers() -> tuple[list[str], str | None]:
    """Of the penstock that is built here."""
    said = subprocess.run([ours("penstock"), "push", "--help"], capture_output=True, text=True, check=False)
    return controllers(said.stdout)


def can_discard() -> bool:
    """The daemon that is built here has its benchmark mode."""
    said = subprocess.run([ours("penstockd"), "serve", "--help"], capture_output=True, text=True, check=False)
    return re.search(r"^ +--discard\b", said.stdout, re.MULTILINE) is not None


def penstocks(kind: type[Penstock] = Penstock, suffix: str = "") -> list[Contender]:
    """Ourselves with the defaults, as `penstock NAME` with each other controller there is, and with two lanes."""
    offered, default = our_controllers()
    movers: list[Contender] = [kind("penstock" + suffix, f"encrypted, verified; --cc {default}")]
    for name in offered:
        if name == default or name not in ("cubic", "bbr", "fixed"):
            continue
        given = ("--cc", name)
        movers.append(kind(f"penstock {name}{suffix}", f"encrypted, verified; --cc {name}", given, rate_given=name == "fixed"))
    # What several lanes cost where there are no cores for them, beside the same controller on one.
    movers.append(kind(f"penstock 2 lanes{suffix}", "encrypted, verified; --cc cubic --lanes 2", ("--cc", "cubic", "--lanes", "2")))
    return movers

