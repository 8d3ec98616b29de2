"""`netem/lab`: the command line, and nothing else; what it does is in the other modules."""

import argparse
import contextlib
import fcntl
import json
import os
import sys
import time
from dataclasses import replace
from typing import Any

from . import report, scenario, settings, state, supervisor, words
from .commands import Companion, fill, run_command
from .contain import contain
from .errors import LabError, UsageError
from .lab import Lab
from .settings import Leg, LabSettings
from .spaces import Spaces
from .words import Pairs

EXIT_USAGE = 2
EXIT_LAB = 125  # as timeout(1) and env(1) do for their own failures, so that COMMAND's codes stay COMMAND's
DOWN_PATIENCE = 15.0

ABOUT = """\
Two hosts, A and B, joined by a bad link on this one machine. COMMAND runs in A; {A} {B} (and {A6} {B6}) in it become the
hosts' addresses. Nothing is left behind, whatever happens. The first line, on stderr, says which back end ran.

  netem/lab run --delay 50ms --loss 1% --rate 200mbit -- ping -c 3 {B}
  netem/lab run --scenario starlink --in-b 'iperf3 -s -1 --forceflush' --ready listening -- iperf3 -c {B}
  netem/lab up demo --delay 25ms; netem/lab run --lab demo -- ping -c 3 {B}; netem/lab set demo A up loss=5%
  netem/lab status; netem/lab down demo
"""
LINK_OPTIONS = {
    "delay": "ONE WAY, in each direction: 50ms makes a round trip of 100 ms, as with tc netem",
    "jitter": "uniform, around the delay: 5ms",
    "jitter-order": "kept (default) or free: whether jitter lets packets overtake each other",
    "loss": "of each direction: 1%%, 250ppm",
    "burst-loss": "Gilbert-Elliott p,r[,1-h[,1-k]]: 1%%,20%% begins a burst at 1 %% of packets, of 5 on average",
    "loss-placement": "after (default) or before the bottleneck",
    "rate": "of each direction, IP bytes: 200mbit",
    "queue": "of the bottleneck: 1bdp (rate x round trip), 64KiB, 64000 (bytes), 200p (packets); default 1000p",
    "mark": "CE on packets whose sender heeds ECN (ECT), where so much waits at the bottleneck: 0.1bdp, 64KiB",
    "police": "RATE,BURST: what comes faster is dropped, nothing waits: 50mbit,64KiB; the burst in bdp too",
    "reorder": "share that arrives late: 0.5%%",
    "reorder-delay": "by how much: 1ms",
    "duplicate": "share that arrives twice: 0.1%%",
    "corrupt": "share with one bit flipped: 0.01%%; see --corrupt-reach",
}

LAB_OPTIONS = ("scenario", "asymmetric", "change", "hosts", "leg", "mtu", "seed", "back-end", "corrupt-reach")


def main(argv: list[str]) -> int:
    """Runs one command of `netem/lab`; gives its exit code."""
    command: list[str] = []
    if "--" in argv:
        cut = argv.index("--")
        argv, command = argv[:cut], argv[cut + 1 :]
    try:
        options = _parser().parse_args(argv)
        if command and options.do is not _run:
            raise UsageError("only `run` takes a COMMAND behind --")
        options.command = command
        return int(options.do(options))
    except UsageError as error:
        return _complain(error, EXIT_USAGE)
    except LabError as error:
        return _complain(error, EXIT_LAB)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `lab status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _complain(error: LabError, code: int) -> int:
    print(f"lab: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _command_parser("netem/lab", ABOUT)
    commands = parser.add_subparsers(required=True, metavar="run|up|status|set|down|scenarios|selftest")
    run = _add(commands, "run", _run, "run COMMAND in A, across a link made for it or one that is up")
    _add_link_options(run)
    run.add_argument("--lab", metavar="NAME", help="in this running lab (`up`), instead of a new one")
    run.add_argument(
        "--in-b", metavar="COMMAND", help="a shell command for B while COMMAND runs; its output comes on stderr after `B| `"
    )
    run.add_argument("--ready", metavar="TEXT", default="", help="COMMAND starts when B's command has written TEXT")
    run.add_argument("--counters", metavar="FILE", help="write what became of the packets, as JSON, at the end")
    up = _add(commands, "up", _up, "start a lab that stays until `down`")
    up.add_argument("name", metavar="NAME")
    _add_link_options(up)
    status = _add(commands, "status", _status, "the labs that are up: hosts, links, counters")
    status.add_argument("name", metavar="NAME", nargs="?")
    status.add_argument("--json", action="store_true", help="one object with a lab a key")
    change = _add(commands, "set", _set, "change a link of a running lab")
    change.add_argument("name", metavar="NAME")
    change.add_argument("leg", metavar="LEG", help="A: the link between A and B (or the hub)")
    change.add_argument("direction", metavar="up|down|both", help="up: from the host towards B")
    change.add_argument("words", metavar="WORDS", help="such as loss=5%%,delay=80ms")
    down = _add(commands, "down", _down, "end labs, and what runs in them")
    down.add_argument("name", metavar="NAME", nargs="*")
    down.add_argument("--all", action="store_true")
    _add(commands, "scenarios", _scenarios, "the presets of configs/lab")
    selftest = _add(commands, "selftest", _selftest, "measure links with a probe of our own, ping and iperf3, and compare")
    selftest.add_argument("--back-end", choices=settings.BACK_ENDS, default="auto", help="auto: every one that works here")
    selftest.add_argument("--only", metavar="TEXT", default="", help="measurements whose name contains TEXT")
    selftest.add_argument("--json", action="store_true", help="one object a line instead of a table")
    return parser


def _command_parser(name: str, about: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=name, description=about, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def _add(commands: Any, name: str, do: Any, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    parser.set_defaults(do=do)
    return parser


def _add_link_options(parser: argparse.ArgumentParser) -> None:
    link = parser.add_argument_group("the link, both directions (words of netem/link_words.h)")
    for word, about in LINK_OPTIONS.items():
        link.add_argument(f"--{word}", metavar="VALUE", help=about)
    more = parser.add_argument_group("the lab")
    more.add_argument(
        "--scenario", metavar="NAME|FILE", help="a preset (`netem/lab scenarios`) or a file; options go over it"
    )
    more.add_argument("--asymmetric", metavar="WORDS", help="what differs from B to A: rate=10mbit,loss=0")
    more.add_argument(
        "--change",
        metavar="TIME:WORDS",
        action="append",
        help="while COMMAND runs: 10s:loss=5%% (both ways), A:down@10s:down=yes; repeats",
    )
    more.add_argument(
        "--hosts", metavar="N", type=int, help="a star of N hosts: A, C, D ... each have such a link to B's hub"
    )
    more.add_argument(
        "--leg",
        metavar="HOST:WORDS",
        action="append",
        help="what differs for a host: C:loss=5%%, C:up:rate=1mbit; B too; repeats",
    )
    more.add_argument("--mtu", metavar="BYTES", type=int, help="of the hosts' devices; default 1500")
    more.add_argument("--seed", metavar="N", type=int, help="of all luck (emulator)")
    more.add_argument(
        "--back-end", choices=settings.BACK_ENDS, help="tc: the kernel's netem; emulator: user space; default auto"
    )
    more.add_argument(
        "--corrupt-reach",
        choices=("kernel", "application"),
        help="where --corrupt ends: at the kernel's checksum (default), or in the program",
    )


def settings_of(options: argparse.Namespace) -> LabSettings:
    """The lab that the options describe. UsageError by name when they make no sense."""
    base = scenario.load_scenario(options.scenario) if options.scenario else LabSettings()
    both: Pairs = tuple(
        (word, value) for word in LINK_OPTIONS if (value := getattr(options, word.replace("-", "_"))) is not None
    )
    for word, value in both:
        # Alone, so that the complaint names the option; `bdp` is judged with the whole.
        if word not in words.MAY_SAY_BDP:
            try:
                words.set_pairs(words.Link(), ((word, value),))
            except UsageError as error:
                raise UsageError(f"--{word}: {error}") from error
    back = words.read_pairs(options.asymmetric) if options.asymmetric else ()
    leg = base.legs["A"].over(both, both + back)
    count = 2 if options.hosts is None else options.hosts
    if not 2 <= count <= len(settings.HOSTS):
        raise UsageError(f"--hosts {count}: a lab has 2 to {len(settings.HOSTS)} hosts")
    hosts = tuple(settings.HOSTS[:count])
    legs = {name: leg for name in hosts if name != "B"}
    changes = [replace(change, leg=name) for name in legs for change in base.changes]
    for text in options.leg or []:
        _set_leg(legs, hosts, text)
    for text in options.change or []:
        changes += settings.read_change(text, legs)
    return replace(
        base,
        legs=legs,
        changes=tuple(changes),
        hosts=hosts,
        mtu=options.mtu if options.mtu is not None else base.mtu,
        seed=options.seed,
        back_end=options.back_end or "auto",
        corrupt_reach=options.corrupt_reach or "kernel",
    ).checked()


def _set_leg(legs: dict[str, Leg], hosts: tuple[str, ...], text: str) -> None:
    name, colon, rest = text.partition(":")
    direction, second, pairs = rest.partition(":")
    if not second:
        direction, pairs = "both", rest
    if not colon or name not in hosts:
        raise UsageError(f"--leg {text}: write it like C:loss=5%; this lab has the hosts {' '.join(hosts)}")
    read = words.read_pairs(pairs)
    ways = settings.read_directions(direction)
    legs[name] = legs.get(name, Leg()).over(read if "up" in ways else (), read if "down" in ways else ())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _run(options: argparse.Namespace) -> int:
    if not options.command:
        raise UsageError("run needs a COMMAND behind --, such as: netem/lab run --delay 50ms -- ping -c 3 {B}")
    if options.ready and not options.in_b:
        raise UsageError("--ready waits for a text of --in-b, and there is no --in-b")
    if options.lab:
        return _run_in_running_lab(options)
    wanted = settings_of(options)
    _writable(options.counters)
    contain()
    with Lab(wanted) as lab:
        _say(report.first_line(wanted, lab.back_end, lab.note))
        try:
            return _run_commands(options, lab.spaces, lab.start_clock, lab.check)
        finally:
            with contextlib.suppress(LabError):
                _finish(options.counters, lab.back_end, lab.counters())


def _run_in_running_lab(options: argparse.Namespace) -> int:
    told = [word for word in (*LINK_OPTIONS, *LAB_OPTIONS) if getattr(options, word.replace("-", "_")) is not None]
    if told:
        how = f"netem/lab set {options.lab} A both WORDS"
        raise UsageError(f"--{told[0]} makes a new lab; a running one is changed by: {how}")
    name = options.lab
    _writable(options.counters)
    with state.connect(name) as connection:
        lent, descriptors = state.ask(connection, {"do": "spaces"})
    contain(join_user=descriptors.pop(0) if lent["user_space"] else None)
    hosts = tuple(lent["hosts"])
    spaces = Spaces(hosts, dict(zip(hosts, descriptors, strict=True)))
    status = state.ask_once(name, {"do": "status"})["status"]
    _say(str(status["line"]))
    try:
        return _run_commands(
            options, spaces, lambda: state.ask_once(name, {"do": "start"}), lambda: state.ask_once(name, {"do": "check"})
        )
    finally:
        spaces.end_processes()
        spaces.close()
        with contextlib.suppress(LabError):
            _finish(options.counters, status["back_end"], state.ask_once(name, {"do": "status"})["status"]["counters"])


def _run_commands(options: argparse.Namespace, spaces: Spaces, start_clock: Any, check: Any) -> int:
    hosts = tuple(spaces.hosts)
    companion = Companion(spaces, fill(options.in_b, hosts), options.ready) if options.in_b else None
    try:
        if companion:
            companion.wait_ready()
        start_clock()
        return run_command(spaces, [fill(word, hosts) for word in options.command], check)
    finally:
        if companion:
            companion.stop()


def _writable(path: str | None) -> None:
    """Better now than after an hour."""
    if path:
        try:
            with open(path, "a", encoding="utf-8"):
                pass
        except OSError as error:
            raise UsageError(f"--counters {path}: {error.strerror}") from error


def _finish(path: str | None, back_end: str, counters: dict[str, Any]) -> None:
    for doubt in report.doubts(counters):
        _say(f"lab: {doubt}")
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"back_end": back_end, **counters}, file, indent=1)
            file.write("\n")


def _up(options: argparse.Namespace) -> int:
    wanted = settings_of(options)
    print(supervisor.up(options.name, wanted))
    return 0


def _status(options: argparse.Namespace) -> int:
    names = [options.name] if options.name else state.names()
    labs = {name: state.ask_once(name, {"do": "status"})["status"] for name in names}
    if options.json:
        print(json.dumps(labs, indent=1))
        return 0
    if not labs:
        print("no lab is up")
    for name, lab in labs.items():
        print(f"{name}: up since {lab['since']}; {lab['line']}")
        for leg, ways in lab["legs"].items():
            for way, text in ways.items():
                count = lab["counters"]["legs"].get(leg, {}).get(way, {})
                lost = sum(value or 0 for key, value in count.items() if key.startswith("lost_"))
                print(f"  {leg} {way}: {text or 'free'}; offered {count.get('offered_packets', 0)} packets,"
                      f" delivered {count.get('delivered_packets', 0)}, lost {lost}")
        for doubt in report.doubts(lab["counters"]):
            print(f"  {doubt}")
    return 0


def _set(options: argparse.Namespace) -> int:
    settings.read_directions(options.direction)
    words.read_pairs(options.words)
    state.ask_once(options.name, {"do": "set", "leg": options.leg, "direction": options.direction, "words": options.words})
    return 0


def _down(options: argparse.Namespace) -> int:
    names = state.names() if options.all else options.name
    if not names and not options.all:
        raise UsageError("name the lab that is to end, or say --all")
    for name in names:
        state.ask_once(name, {"do": "down"})
        _wait_gone(name)
    return 0


def _wait_gone(name: str) -> None:
    """Until the lab's processes are gone: they hold the lock of its name."""
    place = state.socket_of(name).with_suffix(".lock")
    deadline = time.monotonic() + DOWN_PATIENCE
    with open(place, "a", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LabError(f"lab '{name}' does not end") from None
                time.sleep(0.01)


def _scenarios(_: argparse.Namespace) -> int:
    for name in scenario.scenario_names():
        print(f"{name:18} {scenario.description_of(name)}")
    return 0


def _selftest(options: argparse.Namespace) -> int:
    from . import selftest  # not needed by the others, and the longest

    contain()
    return selftest.main(options.back_end, options.only, options.json)
