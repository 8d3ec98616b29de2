"""The words of a link (netem/link_words.h), read in Python: to refuse nonsense before anything is started, to say what a
link is, and to plan for tc. The same grammar and bounds as the C++ reader; tests/unit/labkit/words_test.py holds the same
examples. Integers only: nanoseconds, bits a second, bytes, parts per billion."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from .errors import UsageError

ONE = 1_000_000_000
CERTAIN = ONE  # a probability of 1, in parts per billion
FRAME = 1500  # what a queue is never smaller than two of
_NUMBER_MOST = Fraction((1 << 63) - 1, ONE)  # what the C++ reader's fixed point holds
_MEASURE = re.compile(r"(\d+)(?:\.(\d{1,9}))?(.*)", re.ASCII | re.DOTALL)
_DURATION = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": ONE}
_RATE = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "k": 10**3, "M": 10**6, "G": 10**9}
_SHARE = {"%": CERTAIN // 100, "ppm": CERTAIN // 1_000_000}
_SIZE = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20}

MAY_SAY_BDP = ("queue", "mark", "police")  # they look at other words, so they are set last

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Burst:
    """Gilbert-Elliott loss, parts per billion: `tc-netem(8)` gemodel p r 1-h 1-k."""

    to_bad: int
    to_good: int
    loss_in_bad: int = CERTAIN
    loss_in_good: int = 0

    @property
    def loss(self) -> float:
        """The share lost in the long run."""
        if self.to_bad + self.to_good == 0:
            return self.loss_in_good / CERTAIN
        bad = self.to_bad / (self.to_bad + self.to_good)
        return bad * self.loss_in_bad / CERTAIN + (1 - bad) * self.loss_in_good / CERTAIN


@dataclass(frozen=True)
class Policer:
    """A token bucket: what comes faster is dropped, nothing waits."""

    rate_bps: int
    burst: int  # bytes


@dataclass(frozen=True)
class Link:
    """One direction of a link; the defaults deliver everything at once. The fields of netem/link_settings.h."""

    down: bool = False
    delay_ns: int = 0
    jitter_ns: int = 0
    jitter_free: bool = False
    rate_bps: int | None = None
    queue_bytes: int | None = None
    queue_packets: int | None = 1000
    mark_bytes: int | None = None
    policer: Policer | None = None
    overhead: int = 0
    mtu: int | None = None
    loss_before: bool = False
    loss: int = 0
    burst: Burst | None = None
    reorder: int = 0
    reorder_delay_ns: int = 1_000_000
    duplicate: int = 0
    corrupt: int = 0


def read_duration(text: str) -> int:
    """`250ns`, `1.5us`, `50ms`, `2s`, `0`: nanoseconds, at most 24 hours."""
    value = _scaled(text, _DURATION, 24 * 3600 * ONE)
    if value is None:
        raise _no(text, "duration", "50ms, 250us or 2s (at most 24 hours)")
    return value


def read_rate(text: str) -> int:
    """`500mbit`, `1.5gbit`, `64k`: decimal bits a second."""
    value = _scaled(text, _RATE, 1000 * ONE)
    if not value:
        raise _no(text, "rate", "500mbit, 1.5gbit or 64kbit (above 0, at most 1000 Gbit/s)")
    return value


def read_share(text: str) -> int:
    """`1%`, `0.05%`, `250ppm`, `0`: parts per billion."""
    value = _scaled(text, _SHARE, CERTAIN)
    if value is None:
        raise _no(text, "probability", "1%, 0.05% or 250ppm (at most 100%)")
    return value


def read_size(text: str, what: str, most: int = (1 << 32) - 1) -> int:
    """`1500`, `64KiB`, `1MiB`: bytes."""
    value = _scaled(text, _SIZE, most)
    if value is None:
        raise _no(text, what, "1500, 64KiB or 1MiB")
    return value


def read_pairs(text: str) -> Pairs:
    """`loss=5%,burst-loss=1%,20%`: a piece without `=` belongs to the value before it. The words are not judged yet."""
    pairs: list[tuple[str, str]] = []
    for piece in text.split(",") if text else []:
        word, equals, value = piece.partition("=")
        if equals:
            pairs.append((word, value))
        elif pairs:
            pairs[-1] = (pairs[-1][0], pairs[-1][1] + "," + piece)
        else:
            raise _no(text, "list of link properties", "loss=5%,delay=80ms")
    if not pairs:
        raise _no(text, "list of link properties", "loss=5%,delay=80ms")
    return tuple(pairs)


def set_pairs(link: Link, pairs: Pairs) -> Link:
    """`link` with the pairs set in order, `queue`, `mark` and `police` after the others because `bdp` looks at them.
    UsageError names the word that makes no sense."""
    for last_turn in (False, True):
        for word, value in pairs:
            if (word in MAY_SAY_BDP) == last_turn:
                link = _set(link, word, value)
    return link


def text_of(pairs: Pairs) -> str:
    """The pairs as one text that `read_pairs` reads back."""
    return ",".join(f"{word}={value}" for word, value in pairs)


def text_of_duration(ns: int) -> str:
    """In seconds, exactly, as every reader of these words takes it."""
    return f"{ns // ONE}.{ns % ONE:09d}s"


def bytes_in(rate_bps: int, duration_ns: int) -> int:
    """What a rate carries in a time, rounded down."""
    return rate_bps * duration_ns // (8 * ONE)


def _no(text: str, what: str, examples: str) -> UsageError:
    return UsageError(f"'{text}' is no {what}; write it like {examples}")


def _measure(text: str) -> tuple[Fraction, str] | None:
    found = _MEASURE.fullmatch(text)
    if not found:
        return None
    number = Fraction(f"{found[1]}.{found[2] or '0'}")
    return (number, found[3]) if number <= _NUMBER_MOST else None


def _scaled(text: str, units: dict[str, int], most: int) -> int | None:
    measure = _measure(text)
    if measure is None:
        return None
    number, unit = measure
    if number == 0 and unit == "":
        return 0
    if unit not in units:
        return None
    value = int(number * units[unit])
    return value if value <= most else None


def _burst(text: str) -> Burst:
    parts = text.split(",")
    if not 2 <= len(parts) <= 4:
        raise _no(text, "burst loss", "p,r or p,r,1-h or p,r,1-h,1-k, such as 1%,20%")
    return Burst(*(read_share(part) for part in parts))


def _queue(link: Link, text: str) -> Link:
    refusal = _no(text, "queue", "64000, 256KiB, 200p (packets) or 1bdp")
    measure = _measure(text)
    if measure is None:
        raise refusal
    number, unit = measure
    if unit == "p":
        if int(number) == 0:
            raise refusal
        return replace(link, queue_bytes=None, queue_packets=int(number))
    if unit == "bdp":
        if not link.rate_bps or not link.delay_ns:
            raise UsageError(f"queue '{text}' needs a rate and a delay")
        size = int(bytes_in(link.rate_bps, 2 * link.delay_ns) * number)
        if size > 64 << 30:
            raise refusal
        return replace(link, queue_bytes=max(size, 2 * FRAME), queue_packets=None)
    size = _scaled(text, _SIZE, 64 << 30)
    if not size:
        raise refusal
    return replace(link, queue_bytes=size, queue_packets=None)


def _mark(link: Link, text: str) -> Link:
    if text == "none":
        return replace(link, mark_bytes=None)
    size = _queue(link, text).queue_bytes
    if size is None:
        raise _no(text, "mark", "64000, 64KiB, 0.1bdp or none")
    return replace(link, mark_bytes=size)


def _policer(link: Link, text: str) -> Policer:
    rate_text, _, burst_text = text.partition(",")
    refusal = _no(text, "policer", "50mbit,64KiB or 50mbit,0.5bdp (rate, then burst)")
    if not burst_text:
        raise refusal
    rate = read_rate(rate_text)
    if burst_text.endswith("bdp") and not link.delay_ns:
        raise UsageError(f"policer '{text}' needs a delay")
    try:
        burst = _queue(replace(link, rate_bps=rate), burst_text).queue_bytes
    except UsageError:
        raise refusal from None
    if burst is None:
        raise refusal
    return Policer(rate, burst)


def _choice(word: str, value: str, no: str, yes: str) -> bool:
    if value not in (no, yes):
        raise _no(value, word, f"{no} or {yes}")
    return value == yes


def _set(link: Link, word: str, value: str) -> Link:
    match word:
        case "delay":
            return replace(link, delay_ns=read_duration(value))
        case "jitter":
            return replace(link, jitter_ns=read_duration(value))
        case "jitter-order":
            return replace(link, jitter_free=_choice(word, value, "kept", "free"))
        case "loss":
            return replace(link, loss=read_share(value))
        case "burst-loss":
            return replace(link, burst=_burst(value))
        case "loss-placement":
            return replace(link, loss_before=_choice(word, value, "after", "before"))
        case "rate":
            return replace(link, rate_bps=None if value == "none" else read_rate(value))
        case "queue":
            return _queue(link, value)
        case "mark":
            return _mark(link, value)
        case "police":
            return replace(link, policer=None if value == "none" else _policer(link, value))
        case "reorder":
            return replace(link, reorder=read_share(value))
        case "reorder-delay":
            return replace(link, reorder_delay_ns=read_duration(value))
        case "duplicate":
            return replace(link, duplicate=read_share(value))
        case "corrupt":
            return replace(link, corrupt=read_share(value))
        case "mtu":
            return replace(link, mtu=read_size(value, word))
        case "overhead":
            return replace(link, overhead=read_size(value, word))
        case "down":
            return replace(link, down=_choice(word, value, "no", "yes"))
    raise UsageError(
        f"'{word}' is no property of a link; there are: delay jitter jitter-order loss burst-loss loss-placement rate"
        " queue mark police reorder reorder-delay duplicate corrupt mtu overhead down"
    )
