"""What a lab is to be: its hosts, the words of every leg and direction, the changes while it runs. Pure values; nothing
here touches the machine. A scenario file and a command line both become one `LabSettings`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from . import words
from .errors import UsageError
from .words import Link, Pairs

Direction = Literal["up", "down"]
DIRECTIONS: tuple[Direction, Direction] = ("up", "down")
HOSTS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MTU_LEAST, MTU_MOST = 1280, 65535  # below 1280 there is no IPv6 (RFC 8200 section 5)
BACK_ENDS = ("auto", "tc", "emulator")


@dataclass(frozen=True)
class Leg:
    """The link between one host and the hub; `up` is host to hub. A to B is A's `up`, B to A is A's `down`."""

    up: Pairs = ()
    down: Pairs = ()

    def link(self, direction: Direction) -> Link:
        """The words of a direction, read. UsageError when they make no sense."""
        return words.set_pairs(Link(), self.pairs(direction))

    def pairs(self, direction: Direction) -> Pairs:
        """The words of a direction."""
        return self.up if direction == "up" else self.down

    def over(self, up: Pairs, down: Pairs) -> "Leg":
        """With words set over these; what is said twice counts as it was said last."""
        return Leg(tuple({**dict(self.up), **dict(up)}.items()), tuple({**dict(self.down), **dict(down)}.items()))


@dataclass(frozen=True)
class Change:
    """New words for a running leg, so long after the clock started."""

    after_ns: int
    leg: str
    direction: Direction
    pairs: Pairs


@dataclass(frozen=True)
class LabSettings:
    """All of a lab. Hosts are A, B, ... in order; B sits at the hub unless it has a leg of its own.
    `seed`: of all luck; None means 1, and that whoever runs the lab does not insist (tc has no seed).
    `corrupt_reach`: where a corrupted packet ends, `kernel` (a checksum stops it, as on a wire) or `application`.
    `checked()` says whether the whole makes sense; `Lab` calls it."""

    legs: dict[str, Leg] = field(default_factory=lambda: {"A": Leg()})
    changes: tuple[Change, ...] = ()
    hosts: tuple[str, ...] = ("A", "B")
    mtu: int = 1500
    seed: int | None = None
    back_end: Literal["auto", "tc", "emulator"] = "auto"
    corrupt_reach: Literal["kernel", "application"] = "kernel"
    scenario: str = ""

    @staticmethod
    def of(link: str = "", back: str = "", **more: object) -> "LabSettings":
        """Two hosts: `link` both ways, `back` set over it from B to A: of("delay=50ms,loss=1%", "rate=10mbit")."""
        both = words.read_pairs(link) if link else ()
        own = words.read_pairs(back) if back else ()
        return replace(LabSettings(legs={"A": Leg().over(both, both + own)}), **more)  # type: ignore[arg-type]

    def checked(self) -> "LabSettings":
        """Itself. UsageError: hosts, legs, words, changes or numbers that make no sense, by name."""
        if not 2 <= len(self.hosts) <= len(HOSTS) or self.hosts != tuple(HOSTS[: len(self.hosts)]):
            raise UsageError(f"a lab has 2 to {len(HOSTS)} hosts, named A, B, C and so on")
        if not MTU_LEAST <= self.mtu <= MTU_MOST:
            raise UsageError(f"mtu {self.mtu}: must be {MTU_LEAST} to {MTU_MOST} bytes")
        if self.seed is not None and not 0 <= self.seed < 1 << 64:
            raise UsageError(f"seed {self.seed}: must fit 64 bits")
        for name in self.legs:
            if name not in self.hosts:
                raise UsageError(f"leg {name}: this lab has the hosts {' '.join(self.hosts)}")
        for _ in self.history():
            pass
        return self

    def history(self) -> Iterator[tuple[str, Direction, Link]]:
        """Every state that a direction of a leg has from the beginning to the last change. UsageError as `checked()`."""
        now: dict[tuple[str, Direction], Link] = {}
        for name, leg in self.legs.items():
            for direction in DIRECTIONS:
                now[name, direction] = leg.link(direction)
                yield name, direction, now[name, direction]
        for change in self.changes_in_order():
            if change.leg not in self.legs:
                raise UsageError(f"change of leg {change.leg}: this lab has the legs {' '.join(self.legs)}")
            link = words.set_pairs(now[change.leg, change.direction], change.pairs)
            now[change.leg, change.direction] = link
            yield change.leg, change.direction, link

    def changes_in_order(self) -> list[Change]:
        """By time; those of one moment as they were written."""
        return sorted(self.changes, key=lambda change: change.after_ns)


def read_directions(text: str) -> tuple[Direction, ...]:
    """`up`, `down`, `both`."""
    if text == "both":
        return DIRECTIONS
    if text in DIRECTIONS:
        return (text,)  # type: ignore[return-value]
    raise UsageError(f"'{text}' is no direction; write up (towards the hub and B), down, or both")


def read_change(text: str, legs: dict[str, Leg]) -> tuple[Change, ...]:
    """`10s:loss=5%` changes every leg both ways, `A:down@10s:loss=5%` one direction of one leg."""
    where, at, rest = text.rpartition("@")
    time, colon, pairs = rest.partition(":")
    place = re.fullmatch(r"([A-Z]):(up|down|both)", where) if at else None
    if not colon or (at and not place):
        raise UsageError(f"'{text}' is no change of a link; write it like 10s:loss=5% or A:down@10s:loss=5%,delay=80ms")
    names = (place[1],) if place else tuple(legs)
    directions = read_directions(place[2]) if place else DIRECTIONS
    after, read = words.read_duration(time), words.read_pairs(pairs)
    return tuple(Change(after, name, direction, read) for name in names for direction in directions)
