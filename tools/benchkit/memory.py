"""`tools/bench memory`: the daemon's anonymous memory while very much goes through it.

A file of 20 GiB and its copy fit into few machines' memory. So the source is one file of 1 GiB under many names (hard links,
which Penstock sends as files of their own), and what the daemon has published is removed while the rest still comes."""

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
from labkit import LabError

from . import bars
from .figures import Figures, add
from .measure import touch_pages
from .pair import MTU, Pair
from .results import Results, bars_table, machine, table
from .rounds import say, workspace

_MIB = 1 << 20
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
    """One push of many GiB, the daemon's and the client's memory sampled all along."""
    part = options.part * _MIB
    count = max(1, options.size * 1024 // options.part)
    figures: Figures = {}
    with workspace(options.place) as files, Pair() as pair:
        touch_pages(files.root, 3 * part + 256 * _MIB)
        one = files.source(part)
        source = files.root / "many"
        source.mkdir()
        for number in range(count):
            os.link(one, source / f"part-{number:04}")
        ours = Penstock("penstock", "encrypted, verified")
        missing = ours.missing()
        if missing:
            raise LabError(missing)
        ours.prepare(pair, files)  # type: ignore[arg-type]
        for turn in range(options.runs):
            target = files.fresh_target()
            task = Task(files, source, target, pair.hosts["B"].address4, None)
            daemon, client, seconds = _push(pair, ours, task)
            files.drop(target)
            for name, samples in (("daemon", daemon), ("client", client)):
                add(figures, name, {"rss_mib": max(samples), "growth_mib": growth(samples)}, ("rss_mib", "growth_mib"))
            add(figures, "transfer", {"seconds": seconds}, ("seconds",))
            say(
                f"  {turn + 1}/{options.runs}: daemon at most {max(daemon):.1f} MiB, median {statistics.median(daemon):.1f};"
                f" client {max(client):.1f}; {count * part * 8 / seconds / 1e9:.2f} Gbit/s"
            )
    about = {
        **machine(),
        "size": f"{count} x {options.part} MiB",
        "runs": str(options.runs),
        "link": f"veth between two namespaces, MTU {MTU}, IPv4",
        "files": f"in {options.place}, one source under many names, copies removed as they come",
    }
    return Results("memory", figures, about, bars.judge(bars.MEMORY, figures))


def _push(pair: Pair, ours: Penstock, task: Task) -> tuple[list[float], list[float], float]:
    """Samples of the daemon and of the client in MiB, and how long it took. LabError when the push fails."""
    logs = task.workspace.logs
    plan = ours.client(task)
    server = started(pair, "B", ours.server(task), logs / "memory-daemon.log")  # type: ignore[arg-type]
    said = logs / "memory-client.log"
    daemon: list[float] = []
    mine: list[float] = []
    start = time.monotonic()
    try:
        with open(said, "wb") as out:
            client = pair.popen("A", plan.argv, env={**os.environ, **plan.environment}, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            descriptor = os.pidfd_open(client.pid)
            try:
                while not select.select([descriptor], [], [], _EVERY)[0]:
                    _sample(server, daemon)
                    _sample(client, mine)
                    _remove_published(task.target)
                    if shutil.disk_usage(task.target).free < 256 * _MIB:
                        raise LabError(f"{task.target.parent} is full: copies come faster than they are published and removed")
            finally:
                os.close(descriptor)
            seconds = time.monotonic() - start
        finally:
            stopped(client)
    finally:
        stopped(server)
    if client.returncode != 0:
        raise LabError(f"the push ended with {client.returncode}: {last_line(said)}")
    if not daemon or not mine:
        raise LabError("the push was over before a sample was taken; give a larger --size")
    return daemon, mine, seconds


def _sample(process: "subprocess.Popen[Any]", samples: list[float]) -> None:
    try:
        mib = rss_anon_mib(Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return  # it has ended
    if mib is not None:
        samples.append(mib)


def _remove_published(target: Path) -> None:
    """What stands under its own name is complete and the daemon is done with it; partials have names of their own."""
    for path in target.rglob("part-*"):
        path.unlink(missing_ok=True)


def show(results: Results) -> str:
    """As text for a terminal."""
    about = results.about
    head = f"One push of {about['size']}, {about['machine']}, commit {about['commit']}"
    return f"{head}\n\n{table(results.figures, ['rss_mib', 'growth_mib', 'seconds'])}\n{bars_table(results.verdicts)}"
