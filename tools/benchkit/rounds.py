"""Runs of several ways of doing the same, in turn: what drifts on this machine drifts for all of them."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from contest.contender import Contender, Task
from contest.workspace import Workspace
from labkit import LabError, UsageError

from .figures import Figures, add, run_series
from .measure import Hosts, Run, failed, measure, size_of, touch_pages

PATIENCE = 120.0  # seconds that one run may take; a GiB at 0.1 Gbit/s
_SLACK = 256 << 20  # for a run's sockets, slabs and caches
METRICS = (
    "gbit_s", "seconds", "cpu_sender_s_per_gb", "cpu_receiver_s_per_gb", "cpu_s_per_gb", "machine_cpu_s_per_gb",
    "core_percent_per_gbit_s", "cpu_s",
)


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


@contextmanager
def workspace(place: Path) -> Iterator[Workspace]:
    """A directory under `place` that is gone afterwards, however that comes about (kill -9 excepted)."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    made = Workspace(place)
    try:
        yield made
    finally:
        made.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def able(wanted: Sequence[Contender], only: Sequence[str] | None) -> list[Contender]:
    """Those that were asked for and can run here; the others are named on stderr. UsageError when an asked-for name
    is nobody's, LabError when none is left."""
    names = [contender.name for contender in wanted]
    unknown = [name for name in only or [] if name not in names]
    if unknown:
        raise UsageError(f"there is no {', '.join(unknown)}; there are: {', '.join(names)}")
    left = []
    for contender in wanted:
        if only and contender.name not in only:
            continue
        reason = contender.missing()
        if reason:
            say(f"without {contender.name}: {reason}")
        else:
            left.append(contender)
    if not left:
        raise LabError("none of the tools is installed")
    return left


@dataclass(frozen=True)
class Job:
    """What a round does once: `run` moves `size` bytes in `files` files."""

    name: str
    run: Callable[[], Run]
    size: int
    files: int = 1


@dataclass
class Rounds:
    """Runs jobs in turn and keeps what they brought. `rate_bps`: for those that must be told one."""

    hosts: Hosts
    workspace: Workspace
    address: str
    rate_bps: int | None = None
    patience: float = PATIENCE
    figures: Figures = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def job(self, contender: Contender, source: Path, name: str = "") -> Job:
        """A contender moving a file or a tree into a fresh, empty directory."""
        files = sum(1 for path in source.rglob("*") if path.is_file()) if source.is_dir() else 1
        return Job(name or contender.name, lambda: self._move(contender, source), size_of(source), files)

    def warm_up(self, contenders: Sequence[Contender], source: Path) -> list[Contender]:
        """One run of each that does not count, of something small: programs come into memory, keys are made, and what
        can not run at all is left out and named now."""
        left = []
        for contender in contenders:
            try:
                contender.prepare(self.hosts, self.workspace)  # type: ignore[arg-type]
                run = self._move(contender, source)
            except LabError as error:
                run = failed("failed", str(error))
            if run.outcome == "ok":
                left.append(contender)
            else:
                self._note(f"without {contender.name}: {run.outcome}, {run.note}")
        return left

    def measure(self, jobs: Sequence[Job], count: int) -> None:
        """`count` rounds; each begins with another job, so that none always follows the same."""
        for job in jobs:  # the order of the table is that of the list, not of the rounds
            self.figures.setdefault(job.name, {})
        for turn in range(count):
            for index in range(len(jobs)):
                job = jobs[(index + turn) % len(jobs)]
                try:
                    run = job.run()
                except LabError as error:
                    run = failed("failed", str(error))
                self._record(job, run)
                result = f"{run.seconds:.3f} s, {run.arrived * 8 / run.seconds / 1e9:.2f} Gbit/s" if run.outcome == "ok" else run.outcome
                say(f"  {turn + 1}/{count} {job.name}: {result}")
                if run.note:
                    self._note(f"{job.name}, round {turn + 1}: {run.note}")

    def _move(self, contender: Contender, source: Path) -> Run:
        # A virtual machine hands pages that are free for two seconds back to its host, and getting them again costs more
        # than anything that is measured here: so right before the client starts, when the server is there already.
        size = size_of(source) + _SLACK
        target = self.workspace.fresh_target()
        task = Task(self.workspace, source, target, self.address, self.rate_bps)
        try:
            return measure(self.hosts, contender, task, self.patience, lambda: touch_pages(self.workspace.root, size))
        finally:
            self.workspace.drop(target)

    def _record(self, job: Job, run: Run) -> None:
        sample = None
        if run.outcome == "ok" and run.arrived > 0:
            sample = run_series(run.arrived / 1e9, run.seconds, run.cpu_sender, run.cpu_receiver, run.cpu_machine)
            sample["files_s"] = job.files / run.seconds
        add(self.figures, job.name, sample, (*METRICS, "files_s") if job.files > 1 else METRICS)

    def _note(self, text: str) -> None:
        say(text)
        self.notes.append(text)

