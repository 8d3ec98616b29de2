"""A measurement as a file, as tables for people, and held against an earlier one."""

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .bars import Verdict
from .figures import Figures, median, metric, spread

FORMAT = 1
_HOUSE = Path(__file__).resolve().parents[2]


class ResultsError(Exception):
    """A file is none of ours. The text says which and why."""


@dataclass
class Results:
    """`kind`: the subcommand. `about`: what a reader must know, such as size and runs, as words by name."""

    kind: str
    figures: Figures
    about: dict[str, str] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)

    def write(self, path: Path) -> None:
        told = [
            {
                "what": verdict.bar.what,
                "bar": f"{verdict.bar.direction} {verdict.bar.bar:g}",
                "measured": verdict.measured and verdict.measured.value,
                "holds": verdict.holds,
            }
            for verdict in self.verdicts
        ]
        body = {"format": FORMAT, "kind": self.kind, "about": self.about, "figures": self.figures, "bars": told}
        path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Results:
    """ResultsError when it can not be read, or is no file of `write`."""
    try:
        body: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ResultsError(f"{path}: {error}") from error
    if not isinstance(body, dict) or body.get("format") != FORMAT or not _are_figures(body.get("figures")):
        raise ResultsError(f"{path}: no results of tools/bench (format {FORMAT})")
    return Results(str(body.get("kind")), body["figures"], body.get("about") or {})


def _are_figures(told: Any) -> bool:
    return isinstance(told, dict) and all(
        isinstance(series, dict)
        and all(
            isinstance(samples, list) and all(sample is None or isinstance(sample, (int, float)) for sample in samples)
            for samples in series.values()
        )
        for series in told.values()
    )


def machine() -> dict[str, str]:
    """Where and when, and which sources."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    commit = "unknown"
    try:
        said = subprocess.run(
            ["git", "-C", str(_HOUSE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        )
        commit = said.stdout.strip() or commit
    except OSError:
        pass  # no git: an unpacked archive
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{os.cpu_count()} cores ({model}), Linux {os.uname().release}",
        "commit": commit,
    }


def table(figures: Figures, columns: list[str]) -> str:
    """A line a series: the median of each metric, with least and most of the first."""
    first = columns[0]
    width = max((len(name) for name in figures), default=0)
    heads = [f"{metric(first).unit:>14}", f"{'(least-most)':>16}", *(metric(name).unit for name in columns[1:])]
    lines = [" " * width + "  " + "  ".join(heads)]
    for name, series in figures.items():
        cells = [f"{_number(median(series.get(first, [])), first):>14}", f"{_limits(series.get(first, []), first):>16}"]
        cells += [f"{_number(median(series.get(column, [])), column):>{len(metric(column).unit)}}" for column in columns[1:]]
        lines.append(f"{name:{width}}  " + "  ".join(cells))
    return "\n".join(lines) + "\n"


def bars_table(verdicts: list[Verdict]) -> str:
    """A line a bar."""
    width = max((len(verdict.bar.what) for verdict in verdicts), default=0)
    lines = []
    for verdict in verdicts:
        bar, got = verdict.bar, verdict.measured
        promise = f"{bar.direction} {bar.bar:.4g}"
        seen = f"{got.value:7.2f}  ({got.least:.2f}-{got.most:.2f})" if got else f"{'-':>7}"
        lines.append(f"{bar.what:{width}}  {promise:>14}  {seen:24}  {verdict.word}")
    return "\n".join(lines) + "\n"


def compare(old: Results, new: Results) -> str:
    """What changed, series by series. A change counts as one only where the spreads do not overlap: else it may be the
    machine's mood."""
    names = [name for name in old.figures if name in new.figures]
    width = max((len(name) for name in names), default=0)
    lines = [f"{place}: " + ", ".join(f"{key} {text}" for key, text in results.about.items()) for place, results in (("old", old), ("new", new))]
    for name in names:
        for column, before in old.figures[name].items():
            after = new.figures[name].get(column, [])
            line = _change(column, before, after)
            if line:
                lines.append(f"{name:{width}}  {metric(column).unit:>22}  {line}")
    for label, some, other in (("only in old", old, new), ("only in new", new, old)):
        alone = [name for name in some.figures if name not in other.figures]
        if alone:
            lines.append(f"{label}: {', '.join(alone)}")
    return "\n".join(lines) + "\n"


def _change(column: str, before: list[float | None], after: list[float | None]) -> str:
    a, b = median(before), median(after)
    one, other = spread(before), spread(after)
    if a is None or b is None or one is None or other is None:
        return ""
    change = f"{100 * (b - a) / a:+7.1f} %" if a else f"{'':>9}"
    apart = one[1] < other[0] or other[1] < one[0]
    if not apart:
        word = "within the spread"
    else:
        word = "better" if (b > a) == metric(column).more_is_better else "WORSE"
    numbers = f"{_number(a, column):>9} {_limits(before, column):>16}  {_number(b, column):>9} {_limits(after, column):>16}"
    return f"{numbers}  {change}  {word}"


def _number(value: float | None, column: str) -> str:
    return "-" if value is None else f"{value:.{metric(column).digits}f}"


def _limits(samples: list[float | None], column: str) -> str:
    limits = spread(samples)
    return f"({_number(limits[0], column)}-{_number(limits[1], column)})" if limits else ""
