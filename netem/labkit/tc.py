"""The kernel back end: veth pairs and netem, as tc_plan says."""

import json
import threading
import time
from typing import Any

from . import programs, tc_plan, words
from .contain import person
from .errors import LabError, UsageError
from .settings import DIRECTIONS, Change, Direction, LabSettings
from .spaces import Spaces
from .words import Link, Pairs

NO_NETEM = "this kernel has no sch_netem"
HOW_NETEM = "as root: modprobe sch_netem, or build a kernel with CONFIG_NET_SCH_NETEM"
_missing: str | None = None


def missing() -> str:
    """Why netem does not work on this kernel, found by trying it in a namespace of its own; empty when it does."""
    global _missing
    if _missing is None:
        _missing = _try_netem()
    return _missing


def _try_netem() -> str:
    person()
    try:
        programs.need("ip", "tc", "ethtool")
    except LabError as error:
        return str(error)
    scratch = Spaces(())
    try:
        scratch.add("scratch")
        scratch.run("scratch", ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
    except LabError:
        return NO_NETEM
    finally:
        scratch.close()
    return ""


class Tc:
    """Owns the routers' namespaces (by `spaces`) and the thread that makes the changes. All methods may be called by one
    other thread."""

    name = "tc"
    note = ""

    def __init__(self, spaces: Spaces, settings: LabSettings) -> None:
        self._spaces, self._settings = spaces, settings
        self._links: dict[tuple[str, Direction], Link] = {
            (name, direction): leg.link(direction) for name, leg in settings.legs.items() for direction in DIRECTIONS
        }
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._clock: threading.Thread | None = None
        self._failure: Exception | None = None
        for space in tc_plan.spaces_of(settings):
            spaces.add(space)
        self._do(tc_plan.set_up(settings))
        self._began = time.monotonic()

    def start_clock(self) -> None:
        if self._clock is not None:
            raise UsageError("the clock of this lab runs already")
        self._clock = threading.Thread(target=self._make_changes, args=(time.monotonic(),), daemon=True)
        self._clock.start()

    def set_link(self, leg: str, direction: Direction, pairs: Pairs) -> None:
        if (leg, direction) not in self._links:
            raise UsageError(f"there is no leg {leg}; this lab has {' '.join(self._settings.legs)}")
        with self._lock:
            before = self._links[leg, direction]
            link = words.set_pairs(before, pairs)
            refusals = tc_plan.refusals_of(link, self._settings.corrupt_reach, before)
            if refusals:
                raise UsageError(f"back end tc can not do this: {'; '.join(refusals)}")
            self._do(tc_plan.qdiscs(leg, direction, link, self._settings.mtu, "change"))
            self._links[leg, direction] = link

    def counters(self) -> dict[str, Any]:
        legs: dict[str, dict[str, Any]] = {}
        for (leg, direction), link in self._links.items():
            shown = [self._shown(place) for place in tc_plan.places(leg, direction)]
            legs.setdefault(leg, {})[direction] = tc_plan.counters_of(link, shown[0], shown[1])
        return {"seconds": time.monotonic() - self._began, "legs": legs, "overruns": 0, "overflows": 0}

    def check(self) -> None:
        if self._failure is not None:
            raise LabError(f"a change of the link failed: {self._failure}")

    def close(self) -> None:
        self._ended.set()
        if self._clock is not None:
            self._clock.join()

    def _make_changes(self, began: float) -> None:
        for change in self._settings.changes_in_order():
            if self._ended.wait(max(0.0, began + change.after_ns / 1e9 - time.monotonic())):
                return
            self._make(change)

    def _make(self, change: Change) -> None:
        try:
            self.set_link(change.leg, change.direction, change.pairs)
        except LabError as error:
            self._failure = error

    def _shown(self, place: tc_plan.Place) -> dict[str, Any]:
        told = json.loads(self._spaces.run(place.space, ["tc", "-s", "-j", "qdisc", "show", "dev", place.device]))
        return next(qdisc for qdisc in told if qdisc["kind"] == "netem")

    def _do(self, steps: list[tc_plan.Step]) -> None:
        for step in steps:
            argv = [self._spaces.path(word[1:]) if word.startswith("@") else word for word in step.argv]
            self._spaces.run(step.space, argv)
