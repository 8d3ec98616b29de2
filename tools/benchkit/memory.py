"""`tools/bench memory`: the daemon's anonymous memory while very much goes through it.

A file of 20 GiB and its copy fit into few machines' memory. So the source is one file of 1 GiB under many names (hard links,
which Penstock sends as files of their own), and what the daemon has published is removed while the rest still comes. Trees
of small files stay: they fit."""

import argparse
import os
import select
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from contest.contender import Task
from contest.penstock import Penstock
from contest.run import last_line, started, stopped
from contest.workspace import Workspace
from labkit import LabError

from . import bars
from .figures import Figures, add
from .measure import touch_pages
from .pair import MTU, Pair
from .results import Results, bars_table, machine, table
from .rounds import say, workspace
from .small import Tree

_MIB = 1 << 20
_PAGE = 4096
_EVERY = 0.05  # seconds between samples


def rss_anon_mib(status: str) -> float | None:
    """From the text of /proc/PID/status; None when it does not tell (a zombie)."""
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return None


def growth(samples: list[float]) -> float:
    """What the last quarter needed at most beyond the second: the first is the start's. Of few samples, 0."""
    quarter = len(samples) // 4
    if quarter == 0:
        return 0.0
    return max(samples[-quarter:]) - max(samples[quarter : 2 * quarter])


def memory(options: argparse.Namespace) -> Results:
    """Pushes at once, the daemon's and the clients' memory sampled all along."""
    figures: Figures = {}
    with workspace(options.place) as files, Pair() as pair:
        source, size, what = _source(options, files)
        if options.tree:
            touch_pages(files.root, options.transfers * _on_tmpfs(options.tree) + 256 * _MIB)
        ours = Penstock("penstock", "encrypted, verified")
        missing = ours.missing()
        if missing:
            raise LabError(missing)
        ours.prepare(pair, files)  # type: ignore[arg-type]
        for turn in range(options.runs):
            target = files.fresh_target()
            task = Task(files, source, target, pair.hosts["B"].address4, None)
            daemon, clients, seconds = _push(pair, ours, task, options.transfers, remove=not options.tree)
            files.drop(target)
            for name, samples in (("daemon", daemon), ("client that needs most", clients)):
                add(figures, name, {"rss_mib": max(samples), "growth_mib": growth(samples)}, ("rss_mib", "growth_mib"))
            add(figures, "transfer", {"seconds": seconds}, ("seconds",))
            say(
                f"  {turn + 1}/{options.runs}: daemon at most {max(daemon):.1f} MiB, median {statistics.median(daemon):.1f};"
                f" client {max(clients):.1f}; {options.transfers * size * 8 / seconds / 1e9:.2f} Gbit/s"
            )
    about = {
        **machine(),
        "size": f"{options.transfers} x {what}" if options.transfers > 1 else what,
        "runs": str(options.runs),
        "link": f"veth between two namespaces, MTU {MTU}, IPv4",
        "files": f"in {options.place}" + ("" if options.tree else ", one source under many names, copies removed as they come"),
    }
    return Results("memory", figures, about, bars.judge(bars.memory(options.transfers), figures))


def _source(options: argparse.Namespace, files: Workspace) -> tuple[Path, int, str]:
    """What every client sends, its bytes, and in words."""
    if options.tree:
        tree = Tree(*options.tree)
        return tree.make(files.root), tree.count * tree.size, f"({tree.name})"
    part = options.part * _MIB
    count = max(1, options.size * 1024 // options.part)
    touch_pages(files.root, 3 * part + 256 * _MIB)
    one = files.source(part)
    source = files.root / "many"
    source.mkdir()
    for number in range(count):
        os.link(one, source / f"part-{number:04}")
    return source, count * part, f"({count} x {options.part} MiB)"


def _on_tmpfs(tree: tuple[int, int]) -> int:
    count, size = tree
    return count * (-size // _PAGE * -_PAGE)


def _push(pair: Pair, ours: Penstock, task: Task, transfers: int, remove: bool) -> tuple[list[float], list[float], float]:
    """Samples of the daemon, and of the client that has most, in MiB, and how long all took. LabError when a push fails."""
    logs = task.workspace.logs
    server = started(pair, "B", ours.server(task), logs / "memory-daemon.log")  # type: ignore[arg-type]
    daemon: list[float] = []
    clients: list[float] = []
    running: list[subprocess.Popen[Any]] = []
    start = time.monotonic()
    try:
        try:
            for number in range(transfers):
                plan = ours.client(task)
                # Each into a directory of its own.
                argv = [*plan.argv[:-1], f"{plan.argv[-1]}-{number}"] if transfers > 1 else plan.argv
                with open(logs / f"memory-client-{number}.log", "wb") as out:
                    environment = {**os.environ, **plan.environment}
                    running.append(pair.popen("A", argv, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
            while _wait_a_moment(running):
                _sample([server], daemon)
                _sample(running, clients)
                if remove:
                    _remove_published(task.target)
                if shutil.disk_usage(task.target).free < 256 * _MIB:
                    raise LabError(f"{task.target.parent} is full: copies come faster than they are published and removed")
            seconds = time.monotonic() - start
        finally:
            for client in running:
                stopped(client)
    finally:
        stopped(server)
    for number, client in enumerate(running):
        if client.returncode != 0:
            raise LabError(f"a push ended with {client.returncode}: {last_line(logs / f'memory-client-{number}.log')}")
    if not daemon or not clients:
        raise LabError("the push was over before a sample was taken; give a larger --size")
    return daemon, clients, seconds


def _wait_a_moment(running: "list[subprocess.Popen[Any]]") -> bool:
    """Until the next sample is due. False at once when all have ended; none is reaped."""
    descriptors = [os.pidfd_open(client.pid) for client in running]
    try:
        ended = select.select(descriptors, [], [], 0)[0]
        left = [descriptor for descriptor in descriptors if descriptor not in ended]
        if left:
            select.select(left, [], [], _EVERY)
        return bool(left)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _sample(processes: "list[subprocess.Popen[Any]]", samples: list[float]) -> None:
    """The most that one of them has."""
    most: float | None = None
    for process in processes:
        try:
            mib = rss_anon_mib(Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace"))
        except OSError:
            continue  # it has ended
        if mib is not None:
            most = max(most or 0.0, mib)
    if most is not None:
        samples.append(most)


def _remove_published(target: Path) -> None:
    """What stands under its own name is complete and the daemon is done with it; partials have names of their own."""
    for path in target.rglob("part-*"):
        path.unlink(missing_ok=True)


def show(results: Results) -> str:
    """As text for a terminal."""
    about = results.about
    head = f"Push of {about['size']}, {about['machine']}, commit {about['commit']}"
    return f"{head}\n\n{table(results.figures, ['rss_mib', 'growth_mib', 'seconds'])}\n{bars_table(results.verdicts)}"
