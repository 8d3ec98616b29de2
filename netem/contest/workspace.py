"""The files of a comparison: sources, targets, keys and logs in one directory that goes when the comparison ends."""

import os
import shutil
import tempfile
from pathlib import Path

from labkit import LabError

_CHUNK = 1 << 20


class Workspace:
    """A directory of our own under `place`. Sources are random bytes, so that no tool's compression helps it, and are
    kept for the next run of the same size; every run gets a fresh, empty target directory."""

    def __init__(self, place: Path) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="penstock-compare-", dir=place))
        self.root.chmod(0o755)  # a server that serves as nobody must get to the source
        self.logs = self._directory("logs")
        self.keep = self._directory("keep")  # keys, certificates and registrations, made once
        self.keep.chmod(0o700)
        self._runs = 0

    def _directory(self, name: str) -> Path:
        path = self.root / name
        path.mkdir()
        return path

    def source(self, size: int) -> Path:
        """A file of so many bytes in a directory of its own. LabError: no room for it and its copy."""
        path = self.root / f"source-{size}" / "file.bin"
        if path.exists():
            return path
        free = shutil.disk_usage(self.root).free
        if free < 2 * size + (64 << 20):
            raise LabError(f"{self.root} has {free >> 20} MiB left, and a file of {size >> 20} MiB needs room twice; choose --place")
        path.parent.mkdir()
        with open(path, "wb") as file:
            left = size
            while left > 0:
                left -= file.write(os.urandom(min(_CHUNK, left)))
        return path

    def fresh_target(self) -> Path:
        """An empty directory that no run used before."""
        self._runs += 1
        return self._directory(f"target-{self._runs}")

    def drop(self, directory: Path) -> None:
        """Removes a run's target."""
        shutil.rmtree(directory, ignore_errors=True)

    def close(self) -> None:
        """Removes everything."""
        shutil.rmtree(self.root, ignore_errors=True)
