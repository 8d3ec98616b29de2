"""One measured run of one tool over one link."""

import filecmp
import json
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from labkit import Lab, LabError

from .contender import Client, Contender, Server, Task

Outcome = Literal["ok", "gave up", "failed", "wrong bytes"]
_READY_WITHIN = 30.0  # seconds for a server to listen
_END_WITHIN = 5.0  # between SIGTERM and SIGKILL
_SAMPLE_EVERY = 0.1
_LISTENING = "0A"  # /proc/net/tcp's word for it


@dataclass(frozen=True)
class Run:
    """What was seen. `seconds`: of the whole command (or until patience ended). `cpu_*`: of all processes of that end,
    user and system. `counters`: what both directions of the link did meanwhile, by the lab's names; up carries the file.
    `samples`: seconds since the start, bytes delivered up the link until then, on the wire."""

    contender: str
    outcome: Outcome
    said: str
    seconds: float
    cpu_sender: float
    cpu_receiver: float
    up: dict[str, int]
    down: dict[str, int]
    samples: list[tuple[float, int]] = field(default_factory=list)


def started(lab: Lab, host: str, server: Server, log: Path) -> "subprocess.Popen[Any]":
    """A server that listens. LabError with the end of its log when it does not."""
    with open(log, "wb") as said:
        process = lab.popen(host, server.argv, env={**os.environ, **server.environment}, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    deadline = time.monotonic() + _READY_WITHIN
    while not _listens(process.pid, server):
        if process.poll() is not None or time.monotonic() > deadline:
            stopped(process)
            raise LabError(f"{server.argv[0]} does not listen on port {server.port}: {last_line(log)}")
        time.sleep(0.005)
    return process


def stopped(process: "subprocess.Popen[Any]") -> float:
    """Ends a process, and gives the CPU seconds of it and of the children it waited for."""
    if not _ended(process):
        os.kill(process.pid, signal.SIGTERM)  # Popen's own way would reap it, and its rusage with it
    return _reap(process, _END_WITHIN)


def measure(lab: Lab, contender: Contender, task: Task, patience: float) -> Run:
    """Starts the server, times the client's whole command, compares the copy, ends both. `patience`: seconds after which
    the client is ended and the run counts as given up. A server that does not start is a run that failed."""
    serving, asking = contender.serves_in, "A" if contender.serves_in == "B" else "B"
    if contender.congestion:
        for host in (serving, asking):
            set_congestion(lab, host, contender.congestion)
    server_plan, client_plan = contender.server(task), contender.client(task)
    server_log, client_log = (task.workspace.logs / f"{contender.name}-{end}.log" for end in ("server", "client"))
    try:
        server = started(lab, serving, server_plan, server_log)
    except LabError as error:
        return Run(contender.name, "failed", str(error), 0.0, 0.0, 0.0, {}, {})
    before = lab.counters()["legs"]["A"]
    with open(client_log, "wb") as said:
        start = time.monotonic()
        client = begun(lab, asking, client_plan, said)
        samples = _watch(lab, client, start, start + patience, before["up"]["delivered_bytes"])
        if server_plan.ends_itself and _ended(client):
            samples += _watch(lab, server, start, start + patience, before["up"]["delivered_bytes"])
        seconds = time.monotonic() - start
    in_time = _ended(client) and (not server_plan.ends_itself or _ended(server))
    cpu_client = stopped(client)
    after = lab.counters()["legs"]["A"]
    cpu_server = stopped(server)
    outcome, text = _judge(contender, task, client, in_time, client_log)
    if outcome == "ok":
        seconds = contender.seconds(task, client_log, seconds)
    sends_from_client = serving == "B"
    return Run(
        contender=contender.name,
        outcome=outcome,
        said=text,
        seconds=seconds,
        cpu_sender=cpu_client if sends_from_client else cpu_server,
        cpu_receiver=cpu_server if sends_from_client else cpu_client,
        up=_difference(before["up"], after["up"]),
        down=_difference(before["down"], after["down"]),
        samples=samples,
    )


def last_line(log: Path) -> str:
    """The last thing a program said, for a message; never empty."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"


def set_congestion(lab: Lab, host: str, name: str, towards: str | None = None) -> None:
    """TCP's, of a host, or of what it sends to the address `towards`. By the route: the sysctl of a namespace may only
    choose among what the machine's owner allowed to all."""
    route = json.loads(lab.spaces.run(host, ["ip", "-j", "-4", "route", "show", "scope", "link"]))[0]
    words = ["dev", route["dev"], "src", route["prefsrc"], "proto", "kernel", "scope", "link", "congctl", "lock", name]
    lab.spaces.run(host, ["ip", "route", "replace", towards or route["dst"], *words])


def begun(lab: Lab, host: str, plan: Client, said: Any) -> "subprocess.Popen[Any]":
    """A client that runs."""
    return lab.popen(host, plan.argv, env={**os.environ, **plan.environment}, stdin=subprocess.DEVNULL, stdout=said, stderr=said)


def _listens(pid: int, server: Server) -> bool:
    for suffix in ("", "6"):
        try:
            table = Path(f"/proc/{pid}/net/{server.transport}{suffix}").read_text(encoding="ascii").splitlines()[1:]
        except (FileNotFoundError, ProcessLookupError, OSError):
            continue
        for line in table:
            _, local, _, state = line.split()[:4]
            if int(local.rpartition(":")[2], 16) == server.port and (server.transport == "udp" or state == _LISTENING):
                return True
    return False


def _ended(process: "subprocess.Popen[Any]") -> bool:
    """Without reaping it, for its rusage is still wanted."""
    return process.returncode is not None or os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _watch(lab: Lab, process: "subprocess.Popen[Any]", start: float, deadline: float, base: int) -> list[tuple[float, int]]:
    """Until the process ends or the deadline; its end is seen at once, and the link is sampled meanwhile."""
    samples: list[tuple[float, int]] = []
    descriptor = os.pidfd_open(process.pid)
    try:
        next_sample = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= deadline:
                return samples
            if now >= next_sample:
                samples.append((now - start, lab.counters()["legs"]["A"]["up"]["delivered_bytes"] - base))
                next_sample += _SAMPLE_EVERY
                continue
            if select.select([descriptor], [], [], max(0.0, min(next_sample, deadline) - now))[0]:
                return samples
    finally:
        os.close(descriptor)


def _reap(process: "subprocess.Popen[Any]", patience: float) -> float:
    if process.returncode is not None:
        return 0.0
    descriptor = os.pidfd_open(process.pid)
    try:
        if not select.select([descriptor], [], [], patience)[0]:
            process.kill()
    finally:
        os.close(descriptor)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _judge(contender: Contender, task: Task, client: "subprocess.Popen[Any]", in_time: bool, log: Path) -> tuple[Outcome, str]:
    if not in_time:
        return "gave up", ""
    if client.returncode != 0:
        return "failed", f"exit {client.returncode}: {last_line(log)}"
    if not contender.writes_file:
        return "ok", ""
    copy = task.target / task.source.name
    if not copy.is_file() or not filecmp.cmp(task.source, copy, shallow=False):
        return "wrong bytes", "the copy differs from the source, though the command said that all is well"
    return "ok", ""


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
    return {key: after[key] - before[key] for key in after if isinstance(after[key], int) and isinstance(before.get(key), int)}
