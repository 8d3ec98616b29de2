"""The tail of a transfer: from the last new byte's departure until all have arrived, as Penstock's sender knows it."""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import Lab, LabError, LabSettings
from labkit.settings import Leg

from .contender import Task
from .penstock import Penstock
from .run import measure
from .workspace import Workspace

_PATIENCE = 120.0  # seconds for one transfer
_WAY_BACK = 0.5  # of a round trip, for the acknowledgement by which the sender knows


@dataclass(frozen=True)
class Tail:
    """One transfer. `round_trips`: its tail; None: it ended by TCP, which has none. `recovered`: symbols that FEC computed.
    `lost`: packets that the lab itself lost."""

    loss: str
    fec: str
    round_trips: float | None
    recovered: int
    lost: int


def settings(rate_mbit: int, rtt_ms: int, loss: str, seed: int, back_end: str) -> LabSettings:
    """Loss on the way of the data alone, after the bottleneck; a queue of one BDP."""
    delay = ("delay", f"{rtt_ms / 2}ms")
    leg = Leg(up=(delay, ("rate", f"{rate_mbit}mbit"), ("queue", "1bdp"), ("loss", loss)), down=(delay,))
    return LabSettings(hosts=("A", "B"), legs={"A": leg, "B": Leg()}, seed=seed, back_end=back_end)  # type: ignore[arg-type]


def pusher(fec: str, options: tuple[str, ...] = ()) -> Penstock:
    return Penstock(f"penstock-{fec.replace(',', '-')}", options=("--json", "--fec", fec, *options))


def tail_of(lab: Lab, tool: Penstock, workspace: Workspace, size: int, rtt_ms: int, loss: str, fec: str) -> Tail:
    """Pushes a file from A to B. LabError: it did not arrive."""
    tool.prepare(lab, workspace)
    source, target = workspace.source(size), workspace.fresh_target()
    before = lab.counters()
    try:
        run = measure(lab, tool, Task(workspace, source, target, lab.hosts["B"].address4, None), _PATIENCE)
    finally:
        workspace.drop(target)
    if run.outcome != "ok":
        raise LabError(f"{tool.name} over a link that loses {loss} {run.outcome}: {run.said}")
    after = lab.counters()
    done = _done(workspace.logs / f"{tool.name}-client.log")
    tail_ms = done.get("tail_ms")
    return Tail(
        loss=loss,
        fec=fec,
        round_trips=None if tail_ms is None else tail_ms / rtt_ms - _WAY_BACK,
        recovered=done["fec_recovered"],
        lost=after["overruns"] + after["overflows"] - before["overruns"] - before["overflows"],
    )


def _done(log: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    return next((line for line in reversed(lines) if line["event"] == "done"), {})


def known(tails: list[Tail], loss: str, fec: str) -> list[float]:
    """The tails of these transfers, as far as they have one."""
    return [tail.round_trips for tail in tails if (tail.loss, tail.fec) == (loss, fec) and tail.round_trips is not None]


def percentile(values: list[float], share: float) -> float:
    """The least value that so large a share of all do not pass."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]


def markdown(tails: list[Tail]) -> str:
    """Median and 95th percentile by loss and FEC, in round trips."""
    losses, modes = (list(dict.fromkeys(getattr(tail, key) for tail in tails)) for key in ("loss", "fec"))
    lines = ["| loss | " + " | ".join(f"FEC {fec}" for fec in modes) + " |", "|---" * (len(modes) + 1) + "|"]
    for loss in losses:
        cells = []
        for fec in modes:
            own = known(tails, loss, fec)
            cells.append(f"{statistics.median(own):.2f} ({percentile(own, 0.95):.2f})" if own else "-")
        lines.append(f"| {loss.replace('%', ' %')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
