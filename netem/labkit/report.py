"""A lab said in words: the first line of every run, and what the counters mean for it."""

from typing import Any

from .settings import LabSettings
from .spaces import host_of
from .words import CERTAIN, Link


def first_line(settings: LabSettings, back_end: str, note: str) -> str:
    """Which back end runs, who is where, round trips, and the link of every leg."""
    hosts = ", ".join(f"{name} {host_of(name).address4} {host_of(name).address6}" for name in settings.hosts)
    said = [f"back end {back_end}" + (f" ({note})" if note else ""), hosts]
    if settings.scenario:
        said.append(f"scenario {settings.scenario}")
    for name, leg in settings.legs.items():
        up, down = leg.link("up"), leg.link("down")
        round_trip = f"RTT {duration(up.delay_ns + down.delay_ns)}"
        ends = (name, "hub") if len(settings.legs) > 1 or name != "A" else ("A", "B")
        if up == down:
            said.append(f"{ends[0]}-{ends[1]} {round_trip}, each way {link_text(up)}")
        else:
            ways = f"{ends[0]} to {ends[1]} {link_text(up)}; {ends[1]} to {ends[0]} {link_text(down)}"
            said.append(f"{ends[0]}-{ends[1]} {round_trip}, {ways}")
    if settings.changes:
        first = settings.changes_in_order()[0]
        said.append(f"{len(settings.changes)} changes, the first after {duration(first.after_ns)}")
    return "lab: " + "; ".join(said)


def link_text(link: Link) -> str:
    """One direction, as people would say it."""
    said = [f"delay {duration(link.delay_ns)}" + (f" +- {duration(link.jitter_ns)}" if link.jitter_ns else "")]
    if link.rate_bps is None:
        said.append("no rate limit")
    else:
        queue = f"{link.queue_packets} packets" if link.queue_bytes is None else f"{link.queue_bytes} bytes"
        marks = f", marks above {link.mark_bytes} bytes" if link.mark_bytes is not None else ""
        said.append(f"{rate(link.rate_bps)} (queue {queue}{marks})")
    if link.policer:
        said.append(f"policed to {rate(link.policer.rate_bps)} (burst {link.policer.burst} bytes)")
    where = " before the bottleneck" if link.loss_before else ""
    said.append(f"loss {share(link.loss)}{where}" if link.loss or not link.burst else "")
    if link.burst:
        said.append(f"burst loss {link.burst.loss * 100:.3g} %{where}")
    for name, value in (("reordered", link.reorder), ("duplicated", link.duplicate), ("corrupted", link.corrupt)):
        if value:
            said.append(f"{name} {share(value)}")
    if link.mtu is not None:
        said.append(f"drops packets over {link.mtu} bytes")
    if link.down:
        said.append("DOWN")
    return ", ".join(piece for piece in said if piece)


def duration(ns: int) -> str:
    """`50 ms`, `1.5 s`, `250 us`."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if ns >= size:
            return f"{ns / size:.6g} {unit}"
    return f"{ns} ns" if ns else "0 ms"


def rate(bps: int) -> str:
    """`200 Mbit/s`."""
    for unit, size in (("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 10**3)):
        if bps >= size:
            return f"{bps / size:.6g} {unit}"
    return f"{bps} bit/s"


def share(parts: int) -> str:
    """Parts per billion as `0.5 %`."""
    return f"{parts * 100 / CERTAIN:.6g} %"


def doubts(counters: dict[str, Any]) -> list[str]:
    """Why a run is worth less than it seems: the lab lost packets that nobody told it to lose."""
    found = []
    if counters.get("overruns"):
        found.append(
            f"{counters['overruns']} packets overflowed the emulator's devices: the machine was too slow for this rate,"
            " and the lab lost more than it was told to"
        )
    if counters.get("overflows"):
        found.append(
            f"{counters['overflows']} packets did not fit the emulator's memory: the lab lost more than it was told to"
        )
    return found
