"""Scenario files: a link, its way back, and what changes, as TOML.

    description = "one line for people"
    mtu = 1500                      # of the hosts' devices; may be left out
    [link]                          # both ways; the words of netem/link_words.h
    delay = "25ms"                  # one way: the round trip is twice that
    rate = "100mbit"
    [link.back]                     # B to A, over the words of [link]
    rate = "10mbit"
    [[change]]                      # after the lab's clock started; as many as wanted
    at = "10s"
    direction = "up"                # A to B; "down" B to A; left out: both
    loss = "5%"
"""

import tomllib
from functools import partial
from pathlib import Path
from typing import Any

from . import words
from .errors import UsageError
from .programs import HOUSE
from .settings import Change, LabSettings, Leg, read_directions
from .words import Pairs

PRESETS = HOUSE / "configs" / "lab"


def scenario_names() -> list[str]:
    """The presets of configs/lab, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_scenario(name: str) -> LabSettings:
    """A preset by name, or a file by path (anything with a `/` or ending in .toml). UsageError: no such scenario (naming
    those there are), a file that is no TOML, an unknown key as FILE: KEY, a value that makes no sense."""
    is_path = "/" in name or name.endswith(".toml")
    path = Path(name) if is_path else PRESETS / f"{name}.toml"
    try:
        with open(path, "rb") as file:
            tree = tomllib.load(file)
    except FileNotFoundError:
        what = f"there is no file {path}" if is_path else f"there is no scenario '{name}'"
        raise UsageError(f"{what}; scenarios: {' '.join(scenario_names())}; or write a file's path") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    return _read(str(path), path.stem, tree)


def description_of(name: str) -> str:
    """A preset's line for people."""
    with open(PRESETS / f"{name}.toml", "rb") as file:
        return str(tomllib.load(file).get("description", ""))


def _read(file: str, name: str, tree: dict[str, Any]) -> LabSettings:
    _only(file, "", tree, {"description", "mtu", "link", "change"})
    link = _table(file, "link", tree.get("link", {}))
    back = _table(file, "link.back", link.pop("back", {}))
    both = _pairs(file, "link", link)
    leg = Leg().over(both, both + _pairs(file, "link.back", back))
    changes: list[Change] = []
    listed = tree.get("change", [])
    if not isinstance(listed, list):
        raise UsageError(f"{file}: change: must be [[change]], a list of tables")
    for number, table in enumerate(listed):
        where = f"change[{number}]"
        table = dict(_table(file, where, table))
        if "at" not in table:
            raise UsageError(f"{file}: {where}.at: missing; write when, such as at = \"10s\"")
        after = _judged(file, f"{where}.at", words.read_duration, str(table.pop("at")))
        directions = _judged(file, f"{where}.direction", read_directions, str(table.pop("direction", "both")))
        pairs = _pairs(file, where, table)
        changes += [Change(after, "A", direction, pairs) for direction in directions]
    mtu = tree.get("mtu", 1500)
    if not isinstance(mtu, int):
        raise UsageError(f"{file}: mtu: must be a number of bytes")
    settings = LabSettings(legs={"A": leg}, changes=tuple(changes), mtu=mtu, scenario=name)
    try:
        return settings.checked()
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def _only(file: str, where: str, table: dict[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{file}: {where}{key}: unknown key; here may be {' '.join(sorted(known))}")


def _table(file: str, where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{file}: {where}: must be a table")
    return dict(value)


def _pairs(file: str, where: str, table: dict[str, Any]) -> Pairs:
    """The words of a table; whether they make sense together is judged with the whole."""
    pairs = []
    for word, value in table.items():
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise UsageError(f"{file}: {where}.{word}: must be a text, such as \"50ms\"")
        _judged(file, f"{where}.{word}", partial(_set_alone, word), str(value))
        pairs.append((word, str(value)))
    return tuple(pairs)


def _set_alone(word: str, text: str) -> None:
    """On a link with a rate and a delay, so that a queue in bdp can be judged."""
    words.set_pairs(words.Link(delay_ns=1_000_000, rate_bps=1_000_000), ((word, text),))


def _judged(file: str, where: str, read: Any, text: str) -> Any:
    try:
        return read(text)
    except UsageError as error:
        raise UsageError(f"{file}: {where}: {error}") from error
