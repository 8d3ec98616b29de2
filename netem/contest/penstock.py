"""Ourselves, as a user runs us."""

import subprocess

from labkit import Lab, LabError
from labkit.programs import ours

from .contender import Client, Contender, Server, Task
from .run import started, stopped
from .workspace import Workspace

PENSTOCK_PORT = 7440


class Penstock(Contender):
    """With defaults, or with options a user might add. Registers once a comparison, outside the measured time, as scp's
    keys are made outside of it."""

    congestion = None

    def __init__(self, name: str = "penstock", remark: str = "encrypted", options: tuple[str, ...] = (), rate_given: bool = False, serves_in: str = "B") -> None:
        self.name, self.remark, self._options, self.needs_rate, self.serves_in = name, remark, options, rate_given, serves_in

    def missing(self) -> str | None:
        try:
            ours("penstock"), ours("penstockd")
        except LabError as error:
            return str(error)
        return None

    def prepare(self, lab: Lab, workspace: Workspace) -> None:
        place = workspace.keep / "penstock"
        if place.exists():
            return
        place.mkdir()
        state = str(place / "state")
        token = subprocess.run(
            [ours("penstockd"), "token", "--user", "compare", "--state", state],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ).stdout
        (place / "token").write_bytes(token)
        target = workspace.fresh_target()
        address = lab.hosts[self.serves_in].address4
        server = started(lab, self.serves_in, self._daemon(str(place), str(target), address), workspace.logs / "penstockd-register.log")
        client = lab.popen(
            "A",
            [ours("penstock"), "register", f"{address}:{PENSTOCK_PORT}", "--token-file", str(place / "token")],
            env=self._environment(str(place)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        said = client.communicate()[1]
        stopped(server)
        workspace.drop(target)
        if client.returncode != 0:
            raise LabError(f"penstock register failed: {said.decode(errors='replace').strip()}")

    @staticmethod
    def _environment(place: str) -> dict[str, str]:
        return {"PENSTOCK_HOME": f"{place}/home", "PATH": "/usr/bin:/bin"}

    @staticmethod
    def _daemon(place: str, root: str, address: str) -> Server:
        argv = [ours("penstockd"), "serve", "--root", root, "--state", f"{place}/state", "--listen", f"{address}:{PENSTOCK_PORT}"]
        return Server(argv, PENSTOCK_PORT)

    def server(self, task: Task) -> Server:
        return self._daemon(str(task.workspace.keep / "penstock"), str(task.target), task.address)

    def client(self, task: Task) -> Client:
        rate = ["--rate", f"{task.rate_bps}"] if self.needs_rate else []
        argv = [ours("penstock"), "push", "-q", *self._options, *rate]
        where = f"{task.address}:{PENSTOCK_PORT}:/{task.source.name}"
        return Client([*argv, str(task.source), where], self._environment(str(task.workspace.keep / "penstock")))
