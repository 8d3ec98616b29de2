"""Measures a lab from inside with tools that do not know its model: penstock-link-probe (netem/probe/README.md), ping
and iperf3. Each function runs one measurement to its end."""

import json
import re
import statistics
import subprocess
from dataclasses import dataclass
from typing import Any

from . import programs
from .errors import LabError
from .lab import Lab

PROBE = "penstock-link-probe"
PORT = 9000
_PATIENCE = 60.0  # seconds; only reached by what hangs


@dataclass(frozen=True)
class Stream:
    """What the probe sends: IP bits a second, packets, IP bytes of each, datagrams a system call (UDP_SEGMENT)."""

    rate: str
    count: int
    size: int = 200
    segments: int = 1
    linger: str = "300ms"


def probe(lab: Lab, stream: Stream, source: str = "A", target: str = "B", six: bool = False) -> dict[str, Any]:
    """Sends a stream and gives the receiver's `result`. LabError when one of them fails."""
    program = programs.ours(PROBE)
    address = f"[{lab.hosts[target].address6}]:{PORT}" if six else f"{lab.hosts[target].address4}:{PORT}"
    receiver = lab.popen(
        target,
        [program, "receive", "--listen", address, "--linger", stream.linger, "--wait", "10s"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert receiver.stdout
    try:
        if '"ready"' not in receiver.stdout.readline():
            raise _failed(receiver, "the probe does not listen")
        send = [program, "send", "--to", address, "--rate", stream.rate, "--count", str(stream.count)]
        send += ["--size", str(stream.size), "--segments", str(stream.segments)]
        sender = lab.popen(source, send, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if sender.wait(timeout=_PATIENCE) != 0:
            raise _failed(sender, "the probe does not send")
        said, _ = receiver.communicate(timeout=_PATIENCE)
    finally:
        if receiver.poll() is None:
            receiver.kill()
            receiver.wait()
    for line in said.splitlines():
        news: dict[str, Any] = json.loads(line)
        if news.get("event") == "result":
            return news
    raise _failed(receiver, "the probe gives no result")


def ping_ms(lab: Lab, count: int = 20) -> float:
    """The median round trip from A to B in milliseconds."""
    programs.need("ping")
    argv = ["ping", "-c", str(count), "-i", "0.02", lab.hosts["B"].address4]
    pinging = lab.popen("A", argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said, complaint = pinging.communicate(timeout=_PATIENCE)
    times = [float(time) for time in re.findall(r"time=([\d.]+) ms", said)]
    if not times:
        raise LabError(f"ping measured nothing: {(complaint or said).strip()}")
    return statistics.median(times)


def iperf3_bps(lab: Lab, seconds: int, omit: int) -> float:
    """TCP goodput from A to B in bits a second, as the receiver counts it, without the first `omit` seconds."""
    programs.need("iperf3")
    serve = ["iperf3", "-s", "-1", "--forceflush"]
    server = lab.popen("B", serve, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout
    try:
        while "listening" not in (line := server.stdout.readline()):
            if not line:
                raise LabError("iperf3 does not serve")
        argv = ["iperf3", "-J", "-c", lab.hosts["B"].address4, "-t", str(seconds), "-O", str(omit)]
        client = lab.popen("A", argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said, _ = client.communicate(timeout=_PATIENCE)
        told = json.loads(said or "{}")
        if client.returncode != 0 or "end" not in told:
            raise LabError(f"iperf3: {told.get('error', 'no result')}")
        return float(told["end"]["sum_received"]["bits_per_second"])
    finally:
        server.kill()
        server.communicate()


def _failed(process: "subprocess.Popen[str]", what: str) -> LabError:
    if process.poll() is None:
        process.kill()
    _, complaint = process.communicate()
    return LabError(f"{what}: {complaint.strip() or f'exit {process.returncode}'}")
