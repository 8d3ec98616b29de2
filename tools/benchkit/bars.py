"""The bars of issue 4, "The fast path", and DESIGN section 5: which figures they hold against which. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from .figures import Figures, Ratio, median, ratio, spread

Direction = Literal["at least", "at most"]


@dataclass(frozen=True)
class Bar:
    """One promise. Of two kinds: `under` names series, then it is a ratio of a metric; else the metric itself counts.
    `beyond`: what to aim at once it holds."""

    what: str
    over: str
    under: tuple[str, ...]
    metric: str
    direction: Direction
    bar: float
    beyond: float | None = None
    pick: Callable[[list[float]], float] = max


@dataclass(frozen=True)
class Verdict:
    """What became of a bar; `measured` is None where a figure is missing."""

    bar: Bar
    measured: Ratio | None

    @property
    def holds(self) -> bool | None:
        return None if self.measured is None else _keeps(self.bar.direction, self.measured.value, self.bar.bar)

    @property
    def word(self) -> str:
        if self.measured is None:
            return "not measured"
        if not self.holds:
            return "MISSED"
        beyond = self.bar.beyond is not None and _keeps(self.bar.direction, self.measured.value, self.bar.beyond)
        return "holds, and beyond" if beyond else "holds"


def _keeps(direction: Direction, value: float, bar: float) -> bool:
    return value >= bar if direction == "at least" else value <= bar


IPERF = ("iperf3 cubic", "iperf3 bbr")
PENSTOCK = "penstock"

WHOLE: tuple[Bar, ...] = (
    Bar("sealed blast with files", PENSTOCK, ("sealed blast",), "gbit_s", "at least", 0.75, 0.90),
    Bar("iperf3 TCP in the clear, best of cubic and bbr", PENSTOCK, IPERF, "gbit_s", "at least", 0.8),
    Bar("the same: 1.5 x wdt's encrypted share of it, which is half", PENSTOCK, IPERF, "gbit_s", "at least", 0.75),
    Bar("rsync daemon -W in the clear", PENSTOCK, ("rsync daemon",), "gbit_s", "at least", 2),
    Bar("scp", PENSTOCK, ("scp",), "gbit_s", "at least", 5),
    Bar("penstock --cc fixed, by --cc cubic", "penstock cubic", ("penstock fixed",), "gbit_s", "at least", 0.97),
    Bar("penstock --cc fixed, by --cc bbr", "penstock bbr", ("penstock fixed",), "gbit_s", "at least", 0.97),
    Bar("% of a core per Gbit/s, both ends together", PENSTOCK, (), "core_percent_per_gbit_s", "at most", 17, 15),
)
DISCARD: tuple[Bar, ...] = (
    Bar("sealed blast without files, the source not read either", "penstock, discarded and not read", ("sealed blast, no files",), "gbit_s", "at least", 0.75),
    Bar("the same, the source read", "penstock, discarded", ("sealed blast, no files",), "gbit_s", "at least", 0.75),
    Bar("a sealed blast that reads the file as we do", "penstock, discarded", ("sealed blast, reading",), "gbit_s", "at least", 0.75),
    Bar("iperf3 TCP in the clear, best of cubic and bbr", "penstock, discarded", IPERF, "gbit_s", "at least", 1.0),
)


# A bandwidth-delay product here is what arrives within the delay of a veth: 150 KB for all that share it.
_BANDWIDTH_DELAY_MIB = 0.15


def memory(transfers: int) -> tuple[Bar, ...]:
    """For so many at once."""
    most = 64 + 4 * transfers + 2 * _BANDWIDTH_DELAY_MIB
    return (
        Bar("MiB of anonymous memory at most, over the whole transfer", "daemon", (), "rss_mib", "at most", most),
        Bar("MiB more in the last quarter than in the second", "daemon", (), "growth_mib", "at most", 4 * transfers),
    )


def small(tree: str, far: bool) -> tuple[Bar, ...]:
    """For one tree; `far`: across the slow link, where time is all that is compared."""
    prefix = f"{tree}, far: " if far else f"{tree}: "
    ours = prefix + PENSTOCK
    one, rsync = prefix + "one file", prefix + "rsync daemon"
    if far:
        return (
            Bar(f"{prefix}time by one file of the same size", ours, (one,), "seconds", "at most", 1.3),
            Bar(f"{prefix}time by rsync daemon", ours, (rsync,), "seconds", "at most", 1.0),
        )
    return (
        Bar(f"{prefix}rate by scp -r", ours, (prefix + "scp",), "files_s", "at least", 10),
        Bar(f"{prefix}time by the slower of one file of the same size, cp -r", ours, (one, prefix + "cp"), "seconds", "at most", 2),
        Bar(f"{prefix}time by rsync daemon", ours, (rsync,), "seconds", "at most", 1.0),
    )


def judge(bars: Sequence[Bar], figures: Figures) -> list[Verdict]:
    """Each bar with what was measured for it."""
    return [Verdict(bar, _measured(bar, figures)) for bar in bars]


def _measured(bar: Bar, figures: Figures) -> Ratio | None:
    if bar.under:
        return ratio(figures, bar.over, bar.under, bar.metric, bar.pick)
    samples = figures.get(bar.over, {}).get(bar.metric, [])
    value, limits = median(samples), spread(samples)
    return None if value is None or limits is None else Ratio(value, *limits)
