"""`tools/bench whole` and `discard`: one large file between two hosts, beside what else moves it."""

import argparse
from pathlib import Path

from contest.contender import Contender
from labkit import LabError

from . import bars
from .figures import Figures
from .movers import FIXED_RATE_BPS, Blast, Discarding, EndingIperf, Pull, Rsync, ScpTree, Unread, can_discard, our_controllers, penstocks
from .pair import MTU, Pair
from .results import Results, bars_table, machine, table
from .rounds import Rounds, able, say, workspace

MIB = 1 << 20
_WARM_UP_BYTES = 32 * MIB
_COLUMNS = ["gbit_s", "cpu_sender_s_per_gb", "cpu_receiver_s_per_gb", "machine_cpu_s_per_gb", "core_percent_per_gbit_s"]

_SEALED_NO_FILES = Blast("sealed blast, no files", "encrypted, from and to one slab of memory")
_SEALED_READING = Blast("sealed blast, reading", "encrypted, from a file to one slab of memory", reads=True)
_IPERF: list[Contender] = [EndingIperf("cubic"), EndingIperf("bbr")]


def whole(options: argparse.Namespace) -> Results:
    """The file's whole way, disk to disk, both in memory."""
    movers = [
        *penstocks(),
        Pull(),
        Blast("sealed blast", "encrypted; neither acknowledged nor verified", reads=True, writes=True),
        _SEALED_NO_FILES,
        Blast("raw blast", "in the clear, no files", clear=True),
        *_IPERF,
        Rsync(),
        ScpTree(),
    ]
    return _measure("whole", options, movers, list(bars.WHOLE))


def discard(options: argparse.Namespace) -> Results:
    """The network path alone: the daemon throws away what it has verified. LabError where it has no such mode."""
    if not can_discard():
        raise LabError("this penstockd has no --discard (penstockd serve --help does not name it): nothing to measure")
    movers: list[Contender] = [*penstocks(Discarding, ", discarded"), Unread(), _SEALED_NO_FILES, _SEALED_READING, *_IPERF]
    return _measure("discard", options, movers, list(bars.DISCARD))


def _measure(kind: str, options: argparse.Namespace, movers: list[Contender], promises: list[bars.Bar]) -> Results:
    chosen = able(movers, options.tool)
    size = options.size * MIB
    with workspace(options.place) as files, Pair(options.offloads) as pair:
        source, little = files.source(size), files.source(min(_WARM_UP_BYTES, size))
        rounds = Rounds(pair, files, pair.hosts["B"].address4, rate_bps=FIXED_RATE_BPS)
        chosen = rounds.warm_up(chosen, little)
        say(f"{options.size} MiB, {options.runs} runs of each in turn: {', '.join(mover.name for mover in chosen)}")
        rounds.measure([rounds.job(mover, source) for mover in chosen], options.runs)
    about = {
        **machine(),
        "size": f"{options.size} MiB",
        "runs": str(options.runs),
        "link": f"veth between two namespaces, MTU {MTU}, IPv4, offloads: {options.offloads}",
        "files": f"in {options.place}",
    }
    if rounds.notes:
        about["notes"] = "; ".join(rounds.notes)
    return Results(kind, rounds.figures, about, bars.judge(promises, _with_default_named(rounds.figures)))


def _with_default_named(figures: Figures) -> Figures:
    """The default controller's figures under its own name too, for the bars that name controllers."""
    _, default = our_controllers()
    if bars.PENSTOCK in figures and default:
        return {**figures, f"{bars.PENSTOCK} {default}": figures[bars.PENSTOCK]}
    return figures


def show(results: Results) -> str:
    """As text for a terminal."""
    about = results.about
    head = f"{about['size']} over a {about['link']}, {about['runs']} runs each in turn, {about['machine']}, commit {about['commit']}"
    text = f"{head}\n\n{table(results.figures, _COLUMNS)}\n{bars_table(results.verdicts)}"
    return text + (f"\nNote: {about['notes']}\n" if "notes" in about else "")


def place_of(text: str) -> Path:
    """For argparse: a directory that is there."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no directory")
    return path
