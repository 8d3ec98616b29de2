"""Plots as SVG, drawn by gnuplot from the medians."""

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .report import Line


@dataclass(frozen=True)
class Curve:
    """A plot of one quantity against another, for cells that differ in nothing else of `still`."""

    file: str
    title: str
    x_label: str
    y_label: str
    x: Callable[[Line], float]
    y: Callable[[Line], float | None]
    still: tuple[Callable[[Line], float], ...]
    log_axes: str = ""


def _rate(line: Line) -> float:
    return float(line.cell.rate_mbit)


def _loss(line: Line) -> float:
    return line.cell.loss * 100


def _rtt(line: Line) -> float:
    return float(line.cell.rtt_ms)


def _size(line: Line) -> float:
    return line.cell.size / 1e6


def _efficiency(line: Line) -> float | None:
    return None if line.efficiency is None else line.efficiency * 100


_CURVES = (
    Curve("efficiency-loss", "Efficiency against loss", "loss, %", "efficiency, %", _loss, _efficiency, (_rate, _rtt, _size)),
    Curve("goodput-rtt", "Goodput against round-trip time", "RTT, ms", "goodput, Mbit/s", _rtt, lambda line: line.goodput_mbit, (_rate, _loss, _size)),
    Curve("seconds-size", "Time of the whole command against file size", "file, MB", "seconds", _size, lambda line: line.seconds, (_rate, _rtt, _loss), "xy"),
)


def draw_all(directory: Path, lines: list[Line]) -> list[Path]:
    """Every curve for which there are cells that vary in its x alone, and the rate over time of every cell."""
    drawn = []
    for curve in _CURVES:
        series = _series(lines, curve)
        if series:
            path = directory / f"{curve.file}.svg"
            drawn.append(draw(path, curve.title, curve.x_label, curve.y_label, series, curve.log_axes))
    for number, cell in enumerate(dict.fromkeys(line.cell for line in lines), 1):
        rates = {line.contender.name: _rates(line) for line in lines if line.cell == cell and line.runs}
        drawn.append(draw(directory / f"rate-{number:02}.svg", f"Rate on the wire: {cell.name}", "seconds", "Mbit/s", rates, ""))
    return drawn


Points = list[tuple[float, float]]


def _series(lines: list[Line], curve: Curve) -> dict[str, Points]:
    """By tool, from the largest group of cells that agree in all that must stand still; empty for less than two points."""
    groups: dict[tuple[float, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(tuple(still(line) for still in curve.still), []).append(line)
    best = max(groups.values(), key=lambda group: len({curve.x(line) for line in group}))
    if len({curve.x(line) for line in best}) < 2:
        return {}
    series: dict[str, Points] = {}
    for line in best:
        value = curve.y(line)
        if value is not None:
            series.setdefault(line.contender.name, []).append((curve.x(line), value))
    return {name: sorted(points) for name, points in series.items()}


def _rates(line: Line) -> Points:
    """Of the run that took the median time, in steps of half a second."""
    run = sorted(line.runs, key=lambda run: run.seconds)[len(line.runs) // 2]
    points: Points = []
    last_at, last_bytes = 0.0, 0
    for at, count in run.samples:
        if at - last_at >= 0.5:
            points.append((at, (count - last_bytes) * 8 / (at - last_at) / 1e6))
            last_at, last_bytes = at, count
    return points


def draw(path: Path, title: str, x_label: str, y_label: str, series: dict[str, Points], log_axes: str = "") -> Path:
    """One plot, a curve for each name of `series`."""
    curves, data = [], []
    for name, points in series.items():
        if not points:
            continue
        width = 3 if name.startswith("penstock") else 1
        curves.append(f'"-" using 1:2 with linespoints linewidth {width} pointsize 0.5 title "{name}"')
        data += [f"{x} {y}" for x, y in points] + ["e"]
    script = [
        'set terminal svg size 900,520 font "sans-serif,13" background "white"',
        f'set output "{path}"',
        f'set title "{title}"',
        f'set xlabel "{x_label}"',
        f'set ylabel "{y_label}"',
        "set key outside right noenhanced",
        "set grid",
        f"set logscale {log_axes}" if log_axes else "set yrange [0:*]",
    ]
    if not curves:
        script.append('set label "no run brought the file" at graph 0.5,0.5 center; set xrange [0:1]; set yrange [0:1]; plot NaN notitle')
    else:
        script.append("plot " + ", ".join(curves))
    with tempfile.NamedTemporaryFile("w", suffix=".gnuplot", encoding="utf-8") as file:
        file.write("\n".join(script + data) + "\n")
        file.flush()
        subprocess.run(["gnuplot", file.name], check=True, stdin=subprocess.DEVNULL)
    return path
