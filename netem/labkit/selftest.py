"""`netem/lab selftest`: is the link what it was told to be? Judged by tools that know nothing of its model (measure.py),
against the bounds that the lab promises:

    delay 1 ms or 3 %; rate 2 %; loss 3 standard deviations of a fair coin over >= 50 000 packets; mean length of
    Gilbert-Elliott bursts, reordered, duplicated and corrupted shares 10 %.

Delays are medians: what a busy machine held up for a moment is not the link's."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import programs, tc, tc_plan
from .errors import LabError
from .lab import Lab
from .measure import Stream, iperf3_bps, ping_ms, probe
from .settings import LabSettings, read_change

SEED = 20260101
ATTEMPTS = 3  # at one measurement, where the machine itself may have spoiled it
MANY = Stream("64mbit", 50_000)
SEGMENT = 1448 / 1500  # of TCP's IP packets is payload: 20 bytes of IP, 20 of TCP, 12 of timestamps (RFC 7323)


@dataclass(frozen=True)
class Row:
    """One figure of the table."""

    what: str
    told: str
    measured: str
    bound: str
    ok: bool


@dataclass(frozen=True)
class Check:
    """A lab, and what is measured in it. `judge` gives rows, or raises Spoiled."""

    name: str
    settings: LabSettings
    judge: Callable[[Lab], list[Row]]


class Spoiled(Exception):
    """The machine lost packets (a queue of its own overflowed), so the figures say nothing about the link."""


def main(back_end: str, only: str, as_json: bool) -> int:
    """Runs the checks whose name contains `only` on a back end (`auto`: on every one that works here) and prints a table
    for each. 0 when all hold, 1 when one does not."""
    if not any(only in check.name for check in checks()):
        raise LabError(f"no measurement has '{only}' in its name; there are: {', '.join(check.name for check in checks())}")
    right = [_table(name, only, as_json) for name in (_working() if back_end == "auto" else [back_end])]
    return 0 if all(right) else 1


def _working() -> list[str]:
    """The back ends of this machine; the emulator, whose complaint says what is missing, when there are none."""
    found = [] if tc.missing() else ["tc"]
    with contextlib.suppress(LabError):
        programs.need_tun()
        found.insert(0, "emulator")
    return found or ["emulator"]


def _table(back_end: str, only: str, as_json: bool) -> bool:
    """Measures and prints; whether all is as told."""
    began, rows = time.monotonic(), 0
    wrong: list[str] = []
    for check in checks():
        if only not in check.name:
            continue
        for row in _rows(check, back_end):
            _print(as_json, row, header=rows == 0)
            rows += 1
            if not row.ok:
                wrong.append(row.what.strip())
    if not as_json:
        verdict = f"NOT as told: {', '.join(wrong)}" if wrong else "all as told"
        print(f"lab selftest: back end {back_end}, {rows} figures in {time.monotonic() - began:.0f} s: {verdict}")
    return not wrong


def _rows(check: Check, back_end: str) -> list[Row]:
    settings = replace(check.settings, back_end=back_end)
    if back_end == "tc":
        settings = replace(settings, seed=None)
        if refused := tc_plan.refusals(settings):
            return [Row(check.name, "", f"not by tc: {refused[0].split(' ')[0]}", "", True)]
    return measure(check, settings)


def measure(check: Check, settings: LabSettings) -> list[Row]:
    """The rows of a check, taken again when they do not hold. Where luck has a seed it comes out the same each time, and
    another go forgives nothing but a machine that was busy; where it has none (tc), three standard deviations are missed
    by one fair coin in 370."""
    for _ in range(ATTEMPTS):
        with Lab(settings) as lab:
            try:
                rows = check.judge(lab)
            except Spoiled as spoiled:
                rows = [Row(check.name, "", str(spoiled), "the machine loses nothing itself", False)]
        if all(row.ok for row in rows):
            break
    return rows


def checks() -> Iterator[Check]:
    """All of them, in the order of the table."""

    def of(name: str, judge: Callable[[Lab], list[Row]], link: str, back: str = "", **more: Any) -> Check:
        return Check(name, LabSettings.of(link, back, seed=SEED, **more), judge)

    yield of("delay", _delays, "delay=25ms", "delay=60ms")
    yield of("jitter", _jitter, "delay=30ms,jitter=10ms,jitter-order=free")
    yield of("rate", _rate, "delay=2ms,rate=100mbit,queue=500p")
    yield of("rate, iperf3", _rate_iperf3, "delay=2ms,rate=200mbit,queue=200p")
    yield of("queue", _queue, "delay=10ms,rate=20mbit,queue=100000")
    yield of("policer", _policer, "delay=10ms,police=20mbit,15000")
    yield of("loss", _loss, "loss=1%,delay=5ms")
    yield of("loss of UDP_SEGMENT batches", _segment_loss, "loss=2%,delay=5ms")
    yield of("burst loss", _bursts, "burst-loss=1%,20%,delay=5ms")
    yield of("reorder", _share("reordered", "reordered_share", 0.02), "delay=10ms,reorder=2%,reorder-delay=5ms")
    yield of("duplicate", _duplicates, "delay=5ms,duplicate=2%")
    yield of("corrupt, to the application", _corrupted, "delay=5ms,corrupt=2%", corrupt_reach="application")
    yield of("corrupt, to the kernel", _corrupted_dropped, "delay=5ms,corrupt=2%")
    yield of("loss after the bottleneck", _placement(0.8), "rate=20mbit,queue=250p,loss=20%,delay=2ms")
    before = "rate=20mbit,queue=250p,loss=20%,loss-placement=before,delay=2ms"
    yield of("loss before the bottleneck", _placement(1.0), before)
    outage = LabSettings.of("delay=5ms", seed=SEED)
    changes = read_change("500ms:down=yes", outage.legs) + read_change("1s:down=no", outage.legs)
    yield Check("outage", replace(outage, changes=changes), _outage)


def _delays(lab: Lab) -> list[Row]:
    few = Stream("10mbit", 3000, linger="500ms")
    rows = []
    for what, source, target, six, told in (
        ("delay A to B", "A", "B", False, 25.0),
        ("delay B to A, IPv6", "B", "A", True, 60.0),
    ):
        median = _probe(lab, few, source, target, six)["delay_us"]["median"] / 1000
        rows.append(_delay_row(what, told, median))
    rows.append(_delay_row("round trip (ping)", 85.0, ping_ms(lab)))
    return rows


def _jitter(lab: Lab) -> list[Row]:
    delay = _probe(lab, Stream("2mbit", 2000))["delay_us"]
    least, most = delay["min"] / 1000, delay["max"] / 1000
    # 18 of 20 ms are filled by 2000 draws with certainty. The longest may be the machine's.
    ok = least >= 19.9 and most - least >= 18
    return [
        Row("jitter", "20 to 40 ms", f"{least:.2f} to {most:.2f} ms", "filled", ok),
        _delay_row("  median", 30.0, delay["median"] / 1000),
        _delay_row("  p90", 38.0, delay["p90"] / 1000),
    ]


def _rate(lab: Lab) -> list[Row]:
    result = _probe(lab, Stream("140mbit", 20_000, size=1500), drops_expected=True)
    return [_near("rate, offered 140 %", 100e6, result["rate_bps"], 0.02, 1e6, "Mbit/s")]


def _rate_iperf3(lab: Lab) -> list[Row]:
    return [_near("rate (iperf3 TCP / 0.965)", 200e6, iperf3_bps(lab, 2, 1) / SEGMENT, 0.02, 1e6, "Mbit/s")]


def _queue(lab: Lab) -> list[Row]:
    result = _probe(lab, Stream("30mbit", 3_000, size=1500), drops_expected=True)
    # A full queue of 100 000 bytes waits 40 ms. The last packet fits if it fits whole: up to one packet less. It is full
    # after a fifteenth of the time, so the median packet waited behind all of it.
    return [_delay_row("delay behind a full queue", 50.0, result["delay_us"]["median"] / 1000)]


def _policer(lab: Lab) -> list[Row]:
    result = _probe(lab, Stream("30mbit", 6_000, size=1500), drops_expected=True)
    return [
        _near("rate past a policer, of 150 %", 20e6, result["rate_bps"], 0.02, 1e6, "Mbit/s"),
        _delay_row("  delay, for nothing waits", 10.0, result["delay_us"]["median"] / 1000),
    ]


def _loss(lab: Lab) -> list[Row]:
    result = _probe(lab, MANY)
    return [_coin("loss 1 %", 0.01, result["lost"], result["sent"])]


def _corrupted_dropped(lab: Lab) -> list[Row]:
    result = _probe(lab, MANY, socket_drops=False)
    return [
        _coin("corrupted 2 %, dropped", 0.02, result["lost"], result["sent"]),
        Row("  seen by the program", "0", str(result["corrupted"]), "exactly", result["corrupted"] == 0),
    ]


def _segment_loss(lab: Lab) -> list[Row]:
    result = _probe(lab, replace(MANY, segments=8))
    length = result["burst_length_mean"]
    return [
        _coin("loss 2 %, 8 datagrams a call", 0.02, result["lost"], result["sent"]),
        # Were a batch lost as one, this would be 8.
        _near("  mean run of losses", 1 / 0.98, length, 0.05, 1, "packets"),
    ]


def _bursts(lab: Lab) -> list[Row]:
    result = _probe(lab, replace(MANY, count=100_000))
    return [
        _near("burst loss, mean length", 5.0, result["burst_length_mean"], 0.10, 1, "packets"),
        _near("burst loss, share lost", 1 / 21, result["loss"], 0.15, 0.01, "%"),
    ]


def _share(what: str, key: str, told: float) -> Callable[[Lab], list[Row]]:
    def judge(lab: Lab) -> list[Row]:
        return [_near(what, told, _probe(lab, MANY)[key], 0.10, 0.01, "%")]

    return judge


def _duplicates(lab: Lab) -> list[Row]:
    result = _probe(lab, MANY)
    return [_near("duplicated", 0.02, result["duplicates"] / result["sent"], 0.10, 0.01, "%")]


def _corrupted(lab: Lab) -> list[Row]:
    result = _probe(lab, MANY)
    return [
        _near("corrupted, seen by the program", 0.02, result["corrupted"] / result["sent"], 0.10, 0.01, "%"),
        Row("  of them lost", "0", str(result["lost"]), "exactly", result["lost"] == 0),
    ]


def _placement(share: float) -> Callable[[Lab], list[Row]]:
    """Offered twice the rate, of which a fifth is lost: behind the bottleneck 0.8 of the rate is left; ahead of it still
    more than the rate arrives there."""

    def judge(lab: Lab) -> list[Row]:
        result = _probe(lab, Stream("40mbit", 16_000, size=500), drops_expected=True)
        where = "after" if share < 1 else "before"
        return [_near(f"rate, 20 % lost {where} it", 20e6 * share, result["rate_bps"], 0.02, 1e6, "Mbit/s")]

    return judge


def _outage(lab: Lab) -> list[Row]:
    lab.start_clock()
    result = _probe(lab, Stream("1600kbit", 1500))  # 1000 packets a second
    longest = result["burst_length_max"]
    # A change counts from `start`, packets from a moment later: only the length is told.
    return [Row("outage of 500 ms", "500 packets", f"{longest} packets", "15 packets", abs(longest - 500) <= 15)]


def _probe(lab: Lab, stream: Stream, source: str = "A", target: str = "B", six: bool = False, drops_expected: bool = False,
           socket_drops: bool = True) -> dict[str, Any]:
    """A result worth judging. `drops_expected`: so much is lost anyway that a hundredth of it may be the machine's.
    `socket_drops`: False where the kernel counts broken checksums among them."""
    result = probe(lab, stream, source, target, six)
    counters = lab.counters()
    for what, lost in (
        ("the receiver's socket", result["receiver_drops"] if socket_drops else 0),
        ("the lab's devices", counters["overruns"]),
        ("the lab's memory", counters["overflows"]),
    ):
        if lost and not (drops_expected and lost < result["lost"] / 100):
            raise Spoiled(f"{lost} packets overflowed {what}")
    return result


def _delay_row(what: str, told: float, measured: float) -> Row:
    bound = max(1.0, told * 0.03)
    return Row(what, f"{told:g} ms", f"{measured:.2f} ms", f"{bound:.2f} ms", abs(measured - told) <= bound)


def _near(what: str, told: float, measured: float | None, relative: float, unit: float, name: str) -> Row:
    if measured is None:
        return Row(what, f"{told / unit:.4g} {name}", "nothing", f"{relative:.0%}", False)
    ok = abs(measured - told) <= told * relative
    return Row(what, f"{told / unit:.4g} {name}", f"{measured / unit:.4g} {name}", f"{relative:.0%}", ok)


def _coin(what: str, told: float, lost: int, sent: int) -> Row:
    deviation = math.sqrt(told * (1 - told) / sent)
    share = lost / sent
    far = (share - told) / deviation
    return Row(
        what, f"{told * 100:g} % of {sent}", f"{share * 100:.3f} % ({far:+.1f} sd)", "3 sd", abs(far) <= 3 and sent >= 50_000
    )


def _print(as_json: bool, row: Row, header: bool) -> None:
    if as_json:
        print(json.dumps(asdict(row)), flush=True)
        return
    if header:
        print(f"{'what':32} {'told':18} {'measured':24} {'bound':10} ok")
    print(f"{row.what:32} {row.told:18} {row.measured:24} {row.bound:10} {'yes' if row.ok else 'NO'}", flush=True)
