"""What a transfer tool must tell about itself to be compared."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from labkit import Lab

from .workspace import Workspace

# Debian 12's packages, where the program's name is not the package's.
_PACKAGES = {
    "scp": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "nginx": "nginx-light",
    "uftpd": "uftp",
    "srt-file-transmit": "srt-tools",
}


@dataclass(frozen=True)
class Task:
    """One run: `source` is to arrive as `target`/`source.name`. `address` is where the tool's server listens.
    `rate_bps`: the link's, for tools to which somebody must tell it; None for a link without a rate."""

    workspace: Workspace
    source: Path
    target: Path
    address: str
    rate_bps: int | None


@dataclass(frozen=True)
class Server:
    """What runs at the other end, and the port by which one sees that it is ready. `ends_itself`: its end, not the
    client's, is the end of the transfer."""

    argv: list[str]
    port: int
    transport: Literal["tcp", "udp"] = "tcp"
    ends_itself: bool = False
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Client:
    """The whole command a user types."""

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def is_only_user() -> bool:
    """In a user namespace that has one user, who is root there and may become nobody else; servers that change theirs
    must be told not to."""
    with open("/proc/self/uid_map", encoding="ascii") as ranges:
        return sum(int(line.split()[2]) for line in ranges) == 1


class Contender:
    """One tool with its settings. Subclasses say how it is run; the file always travels from host A to host B.
    `serves_in`: where its server runs; the client runs in the other host (a client in B downloads).
    `congestion`: the kernel's TCP congestion control for it, None where it has its own."""

    name: str
    remark: str  # what a reader of the table must know: encrypted or not, what was given by hand
    serves_in: str = "B"
    programs: tuple[str, ...] = ()
    congestion: str | None = "cubic"
    writes_file = True
    needs_rate = False

    def missing(self) -> str | None:
        """None, or a sentence that says what is not installed and how to get it."""
        absent = [name for name in self.programs if not shutil.which(name)]
        if not absent:
            return None
        packages = sorted({_PACKAGES.get(name, name) for name in absent})
        return f"{' '.join(absent)} not installed; apt install {' '.join(packages)} (or tools/bootstrap --rivals)"

    def prepare(self, lab: Lab, workspace: Workspace) -> None:
        """Makes what lasts for all runs: keys, certificates, registrations. Called before every lab's first run."""

    def server(self, task: Task) -> Server:
        """May write its configuration into the workspace."""
        raise NotImplementedError

    def client(self, task: Task) -> Client:
        """The command that is timed, from its start to its exit."""
        raise NotImplementedError

    def seconds(self, task: Task, said: Path, seconds: float) -> float:
        """How long the file took, from what the client said and how long it ran. A tool whose end does not mean that all
        has arrived corrects it here."""
        return seconds
