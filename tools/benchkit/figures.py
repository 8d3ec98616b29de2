"""What was measured, as numbers. Pure: nothing here runs or prints anything.

A series is one way of doing the work ("scp"); a metric is what was measured of it ("gbit_s"); samples stand in the order of
the rounds, so that those of one round can be held against each other. None is a run that brought no figure."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Samples = list[float | None]
Series = dict[str, Samples]  # by metric
Figures = dict[str, Series]  # by series


@dataclass(frozen=True)
class Metric:
    """`unit` as people read it; `more_is_better`: what a comparison calls better."""

    unit: str
    more_is_better: bool
    digits: int = 2


METRICS = {
    "gbit_s": Metric("Gbit/s", True),
    "seconds": Metric("s", False, 3),
    "cpu_sender_s_per_gb": Metric("CPU s/GB, sender", False, 3),
    "cpu_receiver_s_per_gb": Metric("CPU s/GB, receiver", False, 3),
    "cpu_s_per_gb": Metric("CPU s/GB", False, 3),
    "machine_cpu_s_per_gb": Metric("CPU s/GB, machine", False, 3),
    "core_percent_per_gbit_s": Metric("% of a core per Gbit/s", False, 1),
    "cpu_s": Metric("CPU s", False, 2),
    "files_s": Metric("files/s", True, 0),
    "rss_mib": Metric("MiB anonymous", False, 1),
    "growth_mib": Metric("MiB grown", False, 1),
    "ns": Metric("ns", False, 1),
    "cpu_ns": Metric("ns, all threads", False, 0),
    "bytes_s": Metric("GB/s", True, 3),
    "items_s": Metric("M/s", True, 3),
}


def metric(name: str) -> Metric:
    """Of this name; one that is not known is taken for a cost."""
    return METRICS.get(name, Metric(name, False))


def median(samples: Sequence[float | None]) -> float | None:
    """Of the runs that brought a figure; None unless more than half of them did."""
    good = [sample for sample in samples if sample is not None]
    return statistics.median(good) if 2 * len(good) > len(samples) else None


def spread(samples: Sequence[float | None]) -> tuple[float, float] | None:
    """Least and most."""
    good = [sample for sample in samples if sample is not None]
    return (min(good), max(good)) if good else None


def run_series(gigabytes: float, seconds: float, cpu_sender: float, cpu_receiver: float, cpu_machine: float) -> dict[str, float]:
    """The metrics of one run that moved so many (decimal) gigabytes. % of a core per Gbit/s is CPU seconds by gigabits:
    so many hundredths of a core are busy while a gigabit a second flows. `cpu_machine`: of all that ran meanwhile, the
    kernel's own threads and interrupts included."""
    cpu = cpu_sender + cpu_receiver
    return {
        "gbit_s": gigabytes * 8 / seconds,
        "seconds": seconds,
        "cpu_sender_s_per_gb": cpu_sender / gigabytes,
        "cpu_receiver_s_per_gb": cpu_receiver / gigabytes,
        "cpu_s": cpu,
        "cpu_s_per_gb": cpu / gigabytes,
        "machine_cpu_s_per_gb": cpu_machine / gigabytes,
        "core_percent_per_gbit_s": 100 * cpu / (gigabytes * 8),
    }


def add(figures: Figures, series: str, sample: dict[str, float] | None, metrics: Sequence[str]) -> None:
    """Appends one run: a value of each of the metrics, or None for all of them."""
    for name in metrics:
        figures.setdefault(series, {}).setdefault(name, []).append(None if sample is None else sample.get(name))


@dataclass(frozen=True)
class Ratio:
    """`value` by medians; `least` and `most` of the rounds, each round held against itself alone."""

    value: float
    least: float
    most: float


def ratio(figures: Figures, over: str, under: Sequence[str], name: str, pick: Callable[[list[float]], float] = max) -> Ratio | None:
    """`over` by what `pick` chooses of `under`. None where one side has no median. Of `under`, series that are not there
    are left out."""
    above = figures.get(over, {}).get(name, [])
    below = [figures[series][name] for series in under if name in figures.get(series, {})]
    top = median(above)
    bottoms = [value for value in map(median, below) if value is not None]
    if top is None or not bottoms:
        return None
    rounds = []
    for index, value in enumerate(above):
        others = [samples[index] for samples in below if index < len(samples)]
        good = [other for other in others if other is not None]
        if value is not None and good and len(good) == len(below):
            rounds.append(value / pick(good))
    central = top / pick(bottoms)
    return Ratio(central, min(rounds, default=central), max(rounds, default=central))
