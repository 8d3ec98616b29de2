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
    """Drop-tail, the same round-trip time for both. `queue`: in the lab's words, a share of the BDP."""

    rate_mbit: int
    rtt_ms: int
    queue: str

    def settings(self, seed: int, back_end: str) -> LabSettings:
        delay = ("delay", f"{self.rtt_ms / 2}ms")
        bottleneck = Leg(up=(delay, ("rate", f"{self.rate_mbit}mbit"), ("queue", self.queue)), down=(delay,))
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
        """Of the first flow, while both were there."""
        begin = next(sample for sample in self.samples if sample[0] >= self.late)
        first, second = (self.samples[-1][i] - begin[i] for i in (1, 2))
        return first / max(1, first + second)

    @property
    def used(self) -> float:
        """Of the bottleneck, by both together."""
        begin, end = next(sample for sample in self.samples if sample[0] >= self.late), self.samples[-1]
        return (end[1] + end[2] - begin[1] - begin[2]) * 8 / (end[0] - begin[0]) / (self.bottleneck.rate_mbit * 1e6)

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
    """What the first of each pair got, by queue; how well the link was used where that is below 95 %."""
    queues = list(dict.fromkeys(sharing.bottleneck.queue for sharing in sharings))
    pairs = list(dict.fromkeys(sharing.flows for sharing in sharings))
    lines = ["| flows, equal RTT | " + " | ".join(queue.replace("bdp", " BDP") for queue in queues) + " |", "|---" * (len(queues) + 1) + "|"]
    for pair in pairs:
        cells = []
        for queue in queues:
            own = [sharing for sharing in sharings if sharing.flows == pair and sharing.bottleneck.queue == queue]
            if not own:
                cells.append("-")
                continue
            used = statistics.median(sharing.used for sharing in own)
            text = f"{statistics.median(sharing.share for sharing in own) * 100:.0f} %"
            cells.append(text if used >= 0.95 else f"{text} (of {used * 100:.0f} %)")
        lines.append(f"| {pair[0]} beside {pair[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
