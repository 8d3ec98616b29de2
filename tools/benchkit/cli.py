"""The words of tools/bench."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import labkit

from . import memory, parts, small, whole
from .pair import OFFLOADS
from .results import Results, ResultsError, compare, read
from .rounds import say

_HOUSE = Path(__file__).resolve().parents[2]
_DESCRIPTION = """Measures Penstock beside the machine's limit and beside other tools.

  tools/bench                     one 2 GiB file between two network namespaces, and every bar it must hold (3 minutes)
  tools/bench whole --runs 5      the same with more runs; --size MIB, --tool NAME... to measure less
  tools/bench discard             the network path alone: the daemon throws away what it has verified
  tools/bench small               trees of 10 000 x 4 KiB and 100 000 x 100 B, clean, and the first at 500 Mbit/s, 50 ms
  tools/bench memory              the daemon's anonymous memory over a push of 20 GiB
  tools/bench memory --transfers 20 --tree 10000x4096   the same of 20 pushes of a tree at once
  tools/bench parts               what single parts cost (Google Benchmark)
  tools/bench whole --json now.json && tools/bench compare before.json now.json

Nothing here is a test: nothing passes or fails by speed, but every copy is compared with its source. Runs of all tools are
interleaved; figures are medians, with least and most. Run it on an idle machine: figures of two runs may differ by much, the
ratios within one do not. Files lie in memory (--place). Namespaces and processes are gone when this program is, however
it ends. Root is not needed where the kernel allows user namespaces.
"""

_Measurement = Callable[[argparse.Namespace], Results]
_KINDS: dict[str, tuple[_Measurement, Callable[[Results], str]]] = {
    "whole": (whole.whole, whole.show),
    "discard": (whole.discard, whole.show),
    "small": (small.small, small.show),
    "memory": (memory.memory, memory.show),
    "parts": (parts.parts, parts.show),
}


def parser() -> argparse.ArgumentParser:
    """All subcommands with their options."""
    top = argparse.ArgumentParser(prog="tools/bench", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = top.add_subparsers(dest="kind", metavar="{whole,discard,small,memory,parts,compare}", required=True)

    def add(name: str, help: str, runs: int) -> argparse.ArgumentParser:
        sub = kinds.add_parser(name, help=help, description=help)
        sub.add_argument("--runs", type=_count, default=runs, help=f"of each (default: {runs})")
        sub.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, for compare")
        sub.add_argument("--bin", metavar="DIR", help="where our programs are (default: $PENSTOCK_BIN, else build/release/bin)")
        if name != "parts":
            sub.add_argument("--place", type=whole.place_of, default=Path("/dev/shm"), metavar="DIR", help="for all files (default: /dev/shm)")
        return sub

    for name, help in (
        ("whole", "one large file: push, the machine's limit, iperf3, rsync, scp; the default"),
        ("discard", "one large file to a daemon that throws it away, beside the limit without files"),
    ):
        sub = add(name, help, 3)
        sub.add_argument("--size", type=_count, default=2048, metavar="MIB", help="of the file (default: 2048)")
        sub.add_argument(
            "--offloads", choices=tuple(OFFLOADS), default="all",
            help="what crosses the link uncut: `all`, TCP's 64 KiB and UDP's batches (a veth's default); `no-tcp`, the latter alone;"
            " `none`, every packet by itself, as on a wire without a helpful card",
        )
        sub.add_argument("--tool", action="append", metavar="NAME", help="only this one; may be repeated (default: all that are installed)")
    sub = add("small", "trees of small files, beside scp -r, rsync, cp -r and one file", 3)
    sub.add_argument("--tree", type=small.tree_of, action="append", metavar="COUNTxBYTES", help="may be repeated (default: 10000x4096 100000x100)")
    sub.add_argument("--near", action="store_true", help="without the run across the slow link")
    sub = add("memory", "the daemon's anonymous memory over a long push", 1)
    sub.add_argument("--size", type=_count, default=20, metavar="GIB", help="of all together (default: 20)")
    sub.add_argument("--part", type=_count, default=1024, metavar="MIB", help="of one file of it (default: 1024)")
    sub.add_argument("--transfers", type=_count, default=1, metavar="N", help="at once, a command each; the size is each one's (default: 1)")
    sub.add_argument("--tree", type=small.tree_of, metavar="COUNTxBYTES", help="instead of large files: a tree of small ones, sent by each")
    sub = add("parts", "what single parts cost; builds them first", 3)
    sub.add_argument("--build", type=Path, default=_HOUSE / "build/release", metavar="DIR", help="build directory (default: build/release)")
    sub.add_argument("--filter", metavar="REGEX", help="only parts whose name matches")
    sub.add_argument("--seconds", type=float, default=0.2, help="that a run of a part takes at least (default: 0.2)")
    sub = kinds.add_parser("compare", help="what changed between two --json files")
    sub.add_argument("old", type=Path)
    sub.add_argument("new", type=Path)
    return top


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above zero")
    return int(text)


def words_of(words: list[str]) -> list[str]:
    """Without a subcommand it is `whole`."""
    return words if words and (not words[0].startswith("-") or words[0] in ("-h", "--help")) else ["whole", *words]


def main(words: list[str]) -> int:
    """Exit status: 2 for words that make no sense, 125 where something needed is missing, 130 after Ctrl-C."""
    options = parser().parse_args(words_of(words))
    try:
        if options.kind == "compare":
            print(compare(read(options.old), read(options.new)), end="")
            return 0
        if options.bin:
            os.environ["PENSTOCK_BIN"] = os.path.abspath(options.bin)
        if options.kind == "small" and not options.tree:
            options.tree = [(10000, 4096), (100000, 100)]
        if options.kind != "parts":
            labkit.contain()
        measured, show = _KINDS[options.kind]
        results = measured(options)
        print(show(results), end="", flush=True)
        if options.json:
            results.write(options.json)
            say(f"wrote {options.json}")
    except (labkit.LabError, ResultsError) as error:
        say(str(error))
        return 2 if isinstance(error, (labkit.UsageError, ResultsError)) else 125
    except KeyboardInterrupt:
        say("interrupted; nothing is left behind, and no figures either")
        return 130
    return 0
