"""What a comparison leaves behind: every run as CSV, medians as a Markdown table, and the README's results section."""

import csv
import statistics
from dataclasses import dataclass
from pathlib import Path

from .contender import Contender
from .matrices import Cell
from .run import Run

@dataclass(frozen=True)
class Line:
    """The runs of one tool in one cell."""

    cell: Cell
    contender: Contender
    runs: list[Run]

    @property
    def good(self) -> list[Run]:
        return [run for run in self.runs if run.outcome == "ok"]

    @property
    def seconds(self) -> float | None:
        """Median of the whole command; None unless more than half of the runs brought the file."""
        return statistics.median(run.seconds for run in self.good) if 2 * len(self.good) > len(self.runs) else None

    @property
    def efficiency(self) -> float | None:
        return None if self.seconds is None else self.cell.ideal_seconds / self.seconds

    @property
    def goodput_mbit(self) -> float | None:
        return None if self.seconds is None else self.cell.size * 8 / self.seconds / 1e6

    @property
    def waste(self) -> float | None:
        """Wire bytes offered beyond what the file, framing and the link's loss needed, as a share of that. None for a
        tool that moves no file: it stops when it likes."""
        if self.seconds is None or not self.contender.writes_file:
            return None
        return statistics.median(run.up["offered_bytes"] for run in self.good) / self.cell.needed_wire_bytes - 1

    @property
    def waste_after_start(self) -> float | None:
        """The same without the half a BDP that finding an unknown path's rate may cost."""
        return None if self.waste is None else max(0.0, self.waste - self.cell.bdp_bytes / 2 / self.cell.needed_wire_bytes)

    @property
    def cpu_seconds_per_gb(self) -> float | None:
        if self.seconds is None:
            return None
        return statistics.median(run.cpu_sender + run.cpu_receiver for run in self.good) / (self.cell.size / 1e9)

    @property
    def spread(self) -> tuple[float, float] | None:
        return (min(run.seconds for run in self.good), max(run.seconds for run in self.good)) if self.good else None

    @property
    def share_there(self) -> float:
        """How far the first run came that did not bring the file, as far as the link can tell; 0 where all did."""
        bad = next((run for run in self.runs if run.outcome == "gave up" and run.samples), None)
        return self.cell.share_carried(bad.samples[-1][1]) if bad else 0.0

    @property
    def trouble(self) -> str:
        """Why there is no figure, or which part of the runs brought none."""
        bad = [run for run in self.runs if run.outcome != "ok"]
        if not bad:
            return ""
        if self.seconds is not None:
            return f"{len(bad)} of {len(self.runs)} runs {bad[0].outcome}"
        if bad[0].outcome == "gave up":
            return f"gave up at {bad[0].seconds:.0f} s, {self.share_there * 100:.0f} % there"
        return f"{bad[0].outcome}: {bad[0].said}"


def write_csv(path: Path, lines: list[Line], back_end: str) -> None:
    """One line a run."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(
            ["cell", "rate_bps", "rtt_ms", "loss", "ack_loss", "bytes", "back_end", "tool", "remark", "outcome", "seconds", "efficiency", "goodput_bps"]
            + ["cpu_sender_s", "cpu_receiver_s", "up_offered_bytes", "up_offered_packets", "up_lost_random", "up_lost_burst"]
            + ["up_lost_queue", "down_offered_bytes", "down_offered_packets", "said"]
        )
        for line in lines:
            for run in line.runs:
                ok = run.outcome == "ok"
                out.writerow(
                    [line.cell.name, line.cell.rate_bps, line.cell.rtt_ms, line.cell.loss, line.cell.ack_loss, line.cell.size, back_end]
                    + [run.contender, line.contender.remark, run.outcome, f"{run.seconds:.4f}"]
                    + [f"{line.cell.ideal_seconds / run.seconds:.4f}" if ok else "", f"{line.cell.size * 8 / run.seconds:.0f}" if ok else ""]
                    + [f"{run.cpu_sender:.3f}", f"{run.cpu_receiver:.3f}"]
                    + [run.up.get(key, "") for key in ("offered_bytes", "offered_packets", "lost_random", "lost_burst", "lost_queue")]
                    + [run.down.get("offered_bytes", ""), run.down.get("offered_packets", ""), run.said]
                )


def write_samples(path: Path, lines: list[Line]) -> None:
    """The time series of all runs: bytes delivered up the link until then."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["cell", "tool", "run", "seconds", "wire_bytes"])
        for line in lines:
            for number, run in enumerate(line.runs, 1):
                out.writerows([line.cell.name, run.contender, number, f"{at:.3f}", count] for at, count in run.samples)


def overview(lines: list[Line]) -> str:
    """Efficiency alone: a row a tool, best first, a column a cell. In brackets how far a tool came that brought no file."""
    cells = list(dict.fromkeys(line.cell for line in lines))
    rows: dict[str, list[Line]] = {}
    for line in lines:
        rows.setdefault(line.contender.name, []).append(line)
    ranked = sorted(rows.values(), key=lambda own: -sum(line.efficiency or line.share_there for line in own) / len(own))
    parts = ["| | " + " | ".join(cell.name for cell in cells) + " |", "|---" * (len(cells) + 1) + "|"]
    for own in ranked:
        by_cell = {line.cell: line for line in own}
        parts.append(f"| {own[0].contender.name} | " + " | ".join(_brief(by_cell.get(cell)) for cell in cells) + " |")
    return "\n".join(parts)


def grid(lines: list[Line]) -> str:
    """Efficiency of one tool: a row a path, a column for what is lost on it; and beneath it the most that was wasted."""
    columns = list(dict.fromkeys(_lost(line) for line in lines))
    paths: dict[str, dict[str, Line]] = {}
    for line in lines:
        paths.setdefault(line.cell.path_name, {})[_lost(line)] = line
    parts = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    parts += [f"| {path} | " + " | ".join(_brief(own.get(column)) for column in columns) + " |" for path, own in paths.items()]
    wasted = [(line.waste, line.cell.name) for line in lines if line.waste is not None]
    if wasted:
        most, where = max(wasted)
        after, where_after = max((line.waste_after_start, line.cell.name) for line in lines if line.waste_after_start is not None)
        parts.append(
            f"\nWaste {sorted(wasted)[len(wasted) // 2][0] * 100:.1f} % in the middle, at most {most * 100:.1f} % ({where});"
            f" without half a BDP for the start at most {after * 100:.1f} % ({where_after})."
        )
    return "\n".join(parts)


def _lost(line: Line) -> str:
    return line.cell.name.removeprefix(f"{line.cell.path_name}, ")


def _brief(line: Line | None) -> str:
    if line is None:
        return "-"
    return f"({line.share_there * 100:.0f} %)" if line.efficiency is None else f"{line.efficiency * 100:.0f} %"


def markdown(lines: list[Line]) -> str:
    """A table a cell: tools by efficiency, best first."""
    parts = []
    cells = list(dict.fromkeys(line.cell for line in lines))
    for cell in cells:
        own = sorted((line for line in lines if line.cell == cell), key=lambda line: -(line.efficiency or 0))
        parts.append(f"**{cell.name}**, {cell.size / 1e6:.1f} MB, ideal {cell.ideal_seconds:.2f} s\n")
        parts.append("| tool | efficiency | Mbit/s | seconds (least-most) | waste | CPU s/GB | |\n|---|---|---|---|---|---|---|")
        parts += [_row(line) for line in own]
        parts.append("")
    return "\n".join(parts)


def _row(line: Line) -> str:
    remark = "; ".join(text for text in (line.contender.remark, line.trouble) if text)
    if line.seconds is None or line.spread is None:
        return f"| {line.contender.name} | - | - | - | - | - | {remark} |"
    assert line.efficiency is not None
    waste = "-" if line.waste is None else f"{line.waste * 100:.1f} %"
    return (
        f"| {line.contender.name} | {line.efficiency * 100:.0f} % | {line.goodput_mbit:.0f} |"
        f" {line.seconds:.2f} ({line.spread[0]:.2f}-{line.spread[1]:.2f}) | {waste} |"
        f" {line.cpu_seconds_per_gb:.1f} | {remark} |"
    )


def put_into(readme: Path, text: str, mark: str = "compare") -> None:
    """Replaces what stands between the README's marks of this name. ValueError when they are not there."""
    first, last = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    old = readme.read_text(encoding="utf-8")
    before, begin, rest = old.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{readme} has no lines {first} and {last}")
    readme.write_text(f"{before}{first}\n{text.rstrip()}\n{last}{after}", encoding="utf-8")
