"""`tools/bench small`: many small files, beside what else copies a tree, and beside one file with as many bytes."""

import argparse
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import labkit
from contest.contender import Contender
from contest.matrices import Cell
from contest.penstock import Penstock
from contest.workspace import Workspace

from . import bars
from .figures import Figures
from .measure import Hosts, Run, failed, machine_cpu, size_of
from .movers import Rsync, ScpTree
from .pair import MTU, Pair
from .results import Results, bars_table, machine, table
from .rounds import Job, Rounds, able, say, workspace

_MIB = 1 << 20
_PATIENCE = 900.0
_PER_DIRECTORY = 100
_FAR = Cell("far", rate_mbit=500, rtt_ms=50, loss=0.0, size=0)


@dataclass(frozen=True)
class Tree:
    """So many files of so many bytes, a hundred in a directory."""

    count: int
    size: int

    @property
    def name(self) -> str:
        return f"{self.count} x {self.size} B"

    def make(self, place: Path) -> Path:
        """The tree, of random bytes, as a directory below `place`; made once."""
        root = place / f"tree-{self.count}-{self.size}"
        if root.exists():
            return root
        root.mkdir()
        for number in range(self.count):
            directory = root / f"d{number // _PER_DIRECTORY:05}"
            if number % _PER_DIRECTORY == 0:
                directory.mkdir()
            (directory / f"f{number:06}").write_bytes(os.urandom(self.size))
        return root


def small(options: argparse.Namespace) -> Results:
    """Both trees over a clean veth; the first also across the slow link."""
    trees = [Tree(count, size) for count, size in options.tree]
    figures: Figures = {}
    promises: list[bars.Bar] = []
    notes: list[str] = []
    with workspace(options.place) as files:
        with Pair() as pair:
            for tree in trees:
                say(f"{tree.name} over a clean veth")
                _measure(files, pair, pair.hosts["B"].address4, tree, False, options, figures, notes)
                promises += bars.small(tree.name, far=False)
        if not options.near:
            with labkit.Lab(_FAR.settings(1, "auto")) as lab:
                say(f"{trees[0].name} across 500 Mbit/s, RTT 50 ms, back end {lab.back_end}")
                _raise_tcp_buffers(lab)
                lab.start_clock()
                _measure(files, lab, lab.hosts["B"].address4, trees[0], True, options, figures, notes)
                promises += bars.small(trees[0].name, far=True)
    about = {**machine(), "runs": str(options.runs), "link": f"veth, MTU {MTU}; far: 500 Mbit/s, RTT 50 ms", "files": f"in {options.place}"}
    if notes:
        about["notes"] = "; ".join(notes)
    return Results("small", figures, about, bars.judge(promises, figures))


def _measure(
    files: Workspace, hosts: Hosts, address: str, tree: Tree, far: bool, options: argparse.Namespace, figures: Figures, notes: list[str]
) -> None:
    source = tree.make(files.root)
    one = files.source(size_of(source))
    rounds = Rounds(hosts, files, address, patience=_PATIENCE, figures=figures, notes=notes)
    prefix = f"{tree.name}, far: " if far else f"{tree.name}: "
    ours = Penstock("penstock", "encrypted, verified")
    movers: list[Contender] = [ours, Rsync()] if far else [ours, Rsync(), ScpTree()]
    movers = rounds.warm_up(able(movers, None), Tree(10, 100).make(files.root))
    jobs = [rounds.job(mover, source, prefix + mover.name) for mover in movers]
    if ours in movers:
        jobs.insert(1, rounds.job(ours, one, prefix + "one file"))
    if not far:
        jobs.append(Job(prefix + "cp", _copying(files, source), size_of(source), tree.count))
    rounds.measure(jobs, options.runs)


def _copying(files: Workspace, source: Path) -> Callable[[], Run]:
    def copy() -> Run:
        target = files.fresh_target()
        before, busy = os.times(), machine_cpu()
        start = time.monotonic()
        done = subprocess.run(["cp", "-r", str(source), str(target)], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        seconds = time.monotonic() - start
        after, busy = os.times(), machine_cpu() - busy
        files.drop(target)
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        if done.returncode != 0:
            return failed("failed", done.stderr.decode(errors="replace").strip())
        return Run("ok", seconds, size_of(source), cpu, 0.0, busy)

    return copy


def _raise_tcp_buffers(lab: labkit.Lab) -> None:
    """As netem/compare does: it helps the rivals alone."""
    for host in lab.hosts:
        for key in ("tcp_rmem", "tcp_wmem"):
            lab.spaces.write_sysctl(host, f"net/ipv4/{key}", "4096 131072 67108864")


def show(results: Results) -> str:
    """As text for a terminal."""
    about = results.about
    head = f"Trees, {about['runs']} runs each in turn, {about['machine']}, commit {about['commit']}"
    text = f"{head}\n\n{table(results.figures, ['seconds', 'files_s', 'cpu_s'])}\n{bars_table(results.verdicts)}"
    return text + (f"\nNote: {about['notes']}\n" if "notes" in about else "")


def tree_of(text: str) -> tuple[int, int]:
    """For argparse: COUNTxBYTES."""
    count, _, size = text.partition("x")
    if not (count.isdecimal() and size.isdecimal() and int(count) > 0):
        raise argparse.ArgumentTypeError(f"{text} is not COUNTxBYTES, such as 10000x4096")
    return int(count), int(size)
