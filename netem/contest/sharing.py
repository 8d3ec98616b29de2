"""Two flows that leave one host over one bottleneck, each to a host of its own: who gets how much."""

import contextlib
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import Lab, LabError, LabSettings
from labkit.settings import Leg

from .contender import Contender, Task
from .penstock import Penstock
from .run import begun, last_line, set_congestion, started, stopped
from .tcp_tools import Iperf
from .workspace import Workspace

_SAMPLE_EVERY = 0.25
_RECEIVERS = ("B", "C")
_SETTLED_OVER = 2.0  # seconds over which a late-comer's share is looked at

FLOWS = {
    "penstock": lambda host: Penstock(serves_in=host),
    "penstock-cubic": lambda host: Penstock("penstock-cubic", options=("--cc", "cubic"), serves_in=host),
    "penstock-scavenger": lambda host: Penstock("penstock-scavenger", options=("--cc", "scavenger"), serves_in=host),
    "tcp-cubic": lambda host: Iperf("cubic"),
    "tcp-bbr": lambda host: Iperf("bbr"),
}


@dataclass(frozen=True)
class Bottleneck:
    """What both share at the same round-trip time: a rate behind a drop-tail queue, or a policer, which has none. `size`:
    of the queue or of the policer's burst, in the lab's words, a share of the BDP."""

    rate_mbit: int
    rtt_ms: int
    size: str
    policer: bool = False

    @property
    def name(self) -> str:
        size = self.size.replace("bdp", " BDP")
        return f"policer, {size}" if self.policer else size

    def settings(self, seed: int, back_end: str) -> LabSettings:
        delay, rate = ("delay", f"{self.rtt_ms / 2}ms"), f"{self.rate_mbit}mbit"
        limit = (("police", f"{rate},{self.size}"),) if self.policer else (("rate", rate), ("queue", self.size))
        bottleneck = Leg(up=(delay, *limit), down=(delay,))
        legs = {"A": bottleneck, "B": Leg(), "C": Leg()}
        return LabSettings(hosts=("A", "B", "C"), legs=legs, seed=seed, back_end=back_end)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Sharing:
    """`samples`: seconds since the first flow began, wire bytes that had come to each until then. `late`: when the second
    began; shares count from there."""

    flows: tuple[str, str]
    bottleneck: Bottleneck
    late: float
    samples: list[tuple[float, int, int]]
    lost: int  # packets that the lab itself lost

    @property
    def share(self) -> float:
        """Of the first flow, of what both got while both were there."""
        first, _ = self.parts
        return first / self.used if self.used else 0.0

    @property
    def parts(self) -> tuple[float, float]:
        """Of the bottleneck's rate, what each got while both were there."""
        begin, end = next(sample for sample in self.samples if sample[0] >= self.late), self.samples[-1]
        room = (end[0] - begin[0]) * self.bottleneck.rate_mbit * 1e6 / 8
        return (end[1] - begin[1]) / room, (end[2] - begin[2]) / room

    @property
    def used(self) -> float:
        """Of the bottleneck, by both together."""
        return sum(self.parts)

    @property
    def seconds_to_share(self) -> float | None:
        """From the late-comer's beginning until it had 40 % or more for two seconds; None: never."""
        for at, first, second in self.samples:
            end = next((sample for sample in self.samples if sample[0] >= at + _SETTLED_OVER), None)
            if at < self.late or end is None:
                continue
            gained = end[2] - second
            if gained >= 0.4 * (gained + end[1] - first):
                return at - self.late
        return None

    def rates(self, flow: int) -> list[tuple[float, float]]:
        """Mbit/s on the wire by time, a point a second."""
        points: list[tuple[float, float]] = []
        last = (0.0, 0, 0)
        for sample in self.samples:
            if sample[0] - last[0] >= 1:
                points.append((sample[0], (sample[1 + flow] - last[1 + flow]) * 8 / (sample[0] - last[0]) / 1e6))
                last = sample
        return points


def share(flows: tuple[str, str], bottleneck: Bottleneck, workspaces: tuple[Workspace, Workspace], seconds: float, late: float,
          seed: int, back_end: str) -> tuple[Sharing, str]:
    """Runs both for `seconds` after the second has begun, and says which back end carried them. LabError: a flow that
    does not run, or ended by itself."""
    with Lab(bottleneck.settings(seed, back_end)) as lab:
        source = workspaces[0].source(int(bottleneck.rate_mbit * 1e6 / 8 * (seconds + late) * 1.1))
        running: list[tuple[str, Path, subprocess.Popen[Any]]] = []
        with contextlib.ExitStack() as undo:
            plans = []
            for name, host, workspace in zip(flows, _RECEIVERS, workspaces):
                flow: Contender = FLOWS[name](host)
                address = lab.hosts[host].address4
                if flow.congestion:
                    for sender, towards in (("A", address), (host, lab.hosts["A"].address4)):
                        set_congestion(lab, sender, flow.congestion, towards)
                flow.prepare(lab, workspace)
                target = workspace.fresh_target()
                undo.callback(workspace.drop, target)
                task = Task(workspace, source, target, address, None)
                undo.callback(stopped, started(lab, host, flow.server(task), workspace.logs / f"{name}-server.log"))
                plans.append((name, flow.client(task), workspace.logs / f"{name}-client.log"))
            before = lab.counters()
            lab.start_clock()
            start = time.monotonic()
            samples: list[tuple[float, int, int]] = []
            for number, (name, plan, log) in enumerate(plans):
                with open(log, "wb") as said:
                    client = begun(lab, "A", plan, said)
                undo.callback(_end, client)
                running.append((name, log, client))
                until = start + (late if number == 0 else late + seconds)
                samples += _sampled(lab, start, until, before)
                for told, words, process in running:
                    if process.poll() is not None:
                        raise LabError(f"{told} ended before its time: {last_line(words)}")
            after = lab.counters()
        lost = after["overruns"] + after["overflows"] - before["overruns"] - before["overflows"]
        return Sharing(flows, bottleneck, late, samples, lost), lab.back_end


def _sampled(lab: Lab, start: float, until: float, before: dict[str, Any]) -> Iterator[tuple[float, int, int]]:
    while (now := time.monotonic()) < until:
        legs = lab.counters()["legs"]
        first, second = (legs[host]["down"]["delivered_bytes"] - before["legs"][host]["down"]["delivered_bytes"] for host in _RECEIVERS)
        yield now - start, first, second
        time.sleep(min(_SAMPLE_EVERY, max(0.0, until - now)))


def _end(client: "subprocess.Popen[Any]") -> None:
    client.send_signal(signal.SIGTERM)
    try:
        client.wait(5)
    except subprocess.TimeoutExpired:
        client.kill()
        client.wait()


def markdown(sharings: list[Sharing]) -> str:
    """What the first of each pair got, by queue; how well the link was used where that is below 95 %. Past a policer,
    which is seldom used up: what the first got and the second, of its rate."""
    bottlenecks = list(dict.fromkeys(sharing.bottleneck for sharing in sharings))
    pairs = list(dict.fromkeys(sharing.flows for sharing in sharings))
    heads = ["flows, equal RTT", *(bottleneck.name for bottleneck in bottlenecks)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for pair in pairs:
        cells = [_cell([sharing for sharing in sharings if (sharing.flows, sharing.bottleneck) == (pair, bottleneck)]) for bottleneck in bottlenecks]
        lines.append(f"| {pair[0]} beside {pair[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(runs: list[Sharing]) -> str:
    if not runs:
        return "-"
    if runs[0].bottleneck.policer:
        return " + ".join(f"{statistics.median(run.parts[i] for run in runs) * 100:.0f}" for i in (0, 1)) + " %"
    used = statistics.median(run.used for run in runs)
    text = f"{statistics.median(run.share for run in runs) * 100:.0f} %"
    return text if used >= 0.95 else f"{text} (of {used * 100:.0f} %)"
