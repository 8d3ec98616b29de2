"""One timed run of one command between two hosts."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from contest.contender import Contender, Task
from contest.run import last_line, set_congestion, started, stopped
from labkit import LabError

Outcome = Literal["ok", "gave up", "failed", "wrong bytes"]
_SETTLE = 5.0  # seconds that a server has to reap its children, or to end where it ends itself


class Hosts(Protocol):
    """Pair, or a Lab."""

    spaces: Any

    def popen(self, host: str, argv: list[str], **options: Any) -> "subprocess.Popen[Any]": ...


@dataclass(frozen=True)
class Run:
    """`seconds`: of the whole command, or of the file where the tool itself knows better (iperf3). `arrived`: bytes.
    `cpu_*`: seconds of all processes of that end, and of the whole machine while the client ran.
    `note`: what a reader must know of this run, such as datagrams that were lost; or why it failed."""

    outcome: Outcome
    seconds: float
    arrived: int
    cpu_sender: float
    cpu_receiver: float
    cpu_machine: float = 0.0
    note: str = ""


def measure(hosts: Hosts, contender: Contender, task: Task, patience: float, get_ready: Callable[[], None]) -> Run:
    """Starts the server in B, calls `get_ready`, times the client's whole command in A, compares the copy, ends both. The
    file goes from A to B, or, where the contender says that it `pulls`, from B to A. LabError only for a server that does not
    start, and from `get_ready`."""
    assert contender.serves_in == "B"
    if contender.congestion:
        for host in ("A", "B"):
            set_congestion(hosts, host, contender.congestion)  # type: ignore[arg-type]
    plan_server, plan_client = contender.server(task), contender.client(task)
    logs = task.workspace.logs
    safe = contender.name.replace(" ", "-").replace(",", "")
    server = started(hosts, "B", plan_server, logs / f"{safe}-server.log")  # type: ignore[arg-type]
    said = logs / f"{safe}-client.log"
    try:
        with open(said, "wb") as out:
            environment = {**os.environ, **plan_client.environment}
            get_ready()
            cpu_before = cpu_so_far(server)
            busy = machine_cpu()
            start = time.monotonic()
            client = hosts.popen("A", plan_client.argv, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            in_time = ends_within(client, patience)
            seconds = time.monotonic() - start
            busy = machine_cpu() - busy
        if plan_server.ends_itself:
            ends_within(server, _SETTLE)
        else:
            _wait_for_children(server.pid)
        cpu_sender = stopped(client)
    finally:
        cpu_server = stopped(server)
    cpu_receiver = cpu_server - cpu_before
    if getattr(contender, "pulls", False):
        cpu_sender, cpu_receiver = cpu_receiver, cpu_sender
    if not in_time:
        return failed("gave up", f"no end after {patience:.0f} s")
    if client.returncode != getattr(contender, "exit_status", 0):
        return failed("failed", f"exit {client.returncode}: {last_line(said)}")
    seconds = contender.seconds(task, said, seconds)
    arrived, note = moved(contender, task, said)
    whole = arrived == size_of(task.source) if contender.writes_file else True
    if contender.writes_file and whole and not same(task.source, task.target / task.source.name):
        return failed("wrong bytes", "the copy differs from the source")
    return Run("ok", seconds, arrived, cpu_sender, cpu_receiver, busy, note)


def failed(outcome: Outcome, why: str) -> Run:
    """A run that brought no figure."""
    return Run(outcome, 0.0, 0, 0.0, 0.0, note=why)


def moved(contender: Contender, task: Task, said: Path) -> tuple[int, str]:
    """How many bytes arrived, as the tool itself tells where some may be missing; and a word on that."""
    told = getattr(contender, "arrived", None)
    size = size_of(task.source)
    if told is None:
        return size, ""
    arrived, total = told(said)
    return arrived, "" if arrived == total else f"{total - arrived} of {total} bytes were lost on the way"


def size_of(source: Path) -> int:
    """Bytes of a file, or of all files of a tree."""
    if source.is_dir():
        return sum(path.lstat().st_size for path in source.rglob("*") if path.is_file())
    return source.stat().st_size


def same(source: Path, copy: Path) -> bool:
    """Byte for byte, trees with all that is in them."""
    compare = ["diff", "-rq", "--no-dereference"] if source.is_dir() else ["cmp", "-s"]
    return subprocess.run([*compare, str(source), str(copy)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode == 0


def cpu_so_far(process: "subprocess.Popen[Any]") -> float:
    """Processor seconds of a running process, all threads: what a server took to start is nobody's transfer."""
    return time.clock_gettime(~process.pid << 3 | 2)  # the kernel's number for a process's CPUCLOCK_SCHED


def machine_cpu() -> float:
    """Seconds for which the machine's processors did something, since it was started."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _, _, irq, softirq = map(int, stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def ends_within(process: "subprocess.Popen[Any]", patience: float) -> bool:
    """True when the process has ended by then. It is not reaped: its usage is still wanted."""
    descriptor = os.pidfd_open(process.pid)
    try:
        return bool(select.select([descriptor], [], [], patience)[0])
    finally:
        os.close(descriptor)


def touch_pages(place: Path, size: int) -> None:
    """Fills and frees so many bytes, so that no run is the first to use a page of this machine's memory. LabError when
    there is no room for them."""
    free = shutil.disk_usage(place).free
    if free < size + (64 << 20):
        raise LabError(f"{place} has {free >> 20} MiB left, and {size >> 20} are needed; choose --place or a smaller --size")
    path = place / "touched"
    chunk = bytes(4 << 20)
    try:
        with open(path, "wb", buffering=0) as file:
            for _ in range(0, size, len(chunk)):
                file.write(chunk)
    finally:
        path.unlink(missing_ok=True)


def json_line(said: Path) -> dict[str, Any]:
    """The JSON object that a program printed as its last line."""
    told: dict[str, Any] = json.loads(last_line(said))
    return told


def _wait_for_children(pid: int) -> None:
    """Until a server has reaped what it forked for the client: only then is their CPU time in its own."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + _SETTLE
    try:
        while children.read_text(encoding="ascii").strip() and time.monotonic() < deadline:
            time.sleep(0.002)
    except OSError:
        return  # another /proc than ours: see labkit.spaces
