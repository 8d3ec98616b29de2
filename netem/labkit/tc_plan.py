"""What to tell tc, as pure functions: a lab's settings in, the commands of every namespace out. Runs nothing.

A leg is two routers between host and hub, so that each direction passes two qdiscs, and a host's own stack none:

    A lab0 --- to-host [A.1] to-hub --- to-host [A.2] to-hub --- leg-A [hub] leg-B --- lab0 B
       up:             first ^                  second ^
       down:    second ^               first ^

first: the rate, and the queue as its limit. second: loss, delay, jitter, duplication, corruption. A loss placed before
the bottleneck swaps them. netem drops a GSO super-packet as one, hence segmentation ends in the host (gso_max_segs 1),
and nothing is glued together again on the way (GRO off). Neighbours are written down, so no ARP is lost on the link.
Source: tc-netem(8), and net/sched/sch_netem.c for what it does not say."""

from dataclasses import dataclass
from typing import Any

from .settings import HOSTS, DIRECTIONS, Direction, LabSettings
from .spaces import host_of
from .words import CERTAIN, Link

ETHERNET = 14  # netem's rate counts it, a link's does not
IN_FLIGHT = 1_000_000  # netem's limit where a queue is not meant: 10 Gbit/s x 600 ms of 1500 bytes is half of it
KEEPS_ORDER = "1000gbit"  # with any rate netem sends in order, whatever the jitter; this one delays by 12 ns


@dataclass(frozen=True)
class Step:
    """One command in one namespace. A word `@NAME` stands for the file of that namespace."""

    space: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where a qdisc sits."""

    space: str
    device: str


def refusals(settings: LabSettings) -> list[str]:
    """What of the settings tc can not do, by name; empty when it can do all."""
    found: list[str] = []
    if settings.seed is not None:
        found.append("--seed (netem of this iproute2 draws its own luck)")
    before: dict[tuple[str, Direction], Link] = {}
    for name, direction, link in settings.history():
        found += refusals_of(link, settings.corrupt_reach, before.get((name, direction)))
        before[name, direction] = link
    return list(dict.fromkeys(found))


def refusals_of(link: Link, corrupt_reach: str = "kernel", before: Link | None = None) -> list[str]:
    """The same of one direction; `before` is what it was until now, if it runs."""
    found = []
    if link.reorder:
        found.append("reorder (netem sends early what we send late)")
    if link.mtu is not None:
        found.append("mtu of a link (netem drops nothing by size)")
    if link.mark_bytes is not None:
        found.append("mark (netem's ecn marks what its luck would drop)")
    if link.policer:
        found.append("police (netem drops nothing by rate without a queue)")
    if link.loss and link.burst:
        found.append("loss and burst-loss together (netem has one loss model)")
    if link.corrupt and corrupt_reach == "application":
        found.append("--corrupt-reach application (netem repairs no checksum)")
    if before is not None and before.loss_before != link.loss_before:
        found.append("a change of loss-placement while the lab runs")
    return found


def spaces_of(settings: LabSettings) -> list[str]:
    """The namespaces beside the hosts."""
    return ["hub", *(f"{name}.{router}" for name in settings.legs for router in (1, 2))]


def places(leg: str, direction: Direction) -> tuple[Place, Place]:
    """Where a direction's first and second qdisc sit."""
    near, far = f"{leg}.1", f"{leg}.2"
    if direction == "up":
        return Place(near, "to-hub"), Place(far, "to-hub")
    return Place(far, "to-host"), Place(near, "to-host")


def rate_words(link: Link, mtu: int) -> tuple[str, ...]:
    """netem for rate and queue. A queue in bytes is counted in packets of the lab's MTU, rounded up."""
    if link.rate_bps is None:
        return ("netem", "limit", str(IN_FLIGHT))
    if link.queue_bytes is not None:
        packets = max(2, -(-link.queue_bytes // (mtu + link.overhead)))
    else:
        packets = link.queue_packets or 1
    return ("netem", "limit", str(packets), "rate", f"{link.rate_bps}bit", str(link.overhead - ETHERNET))


def luck_words(link: Link) -> tuple[str, ...]:
    """netem for everything but rate and queue."""
    said = ["netem", "limit", str(IN_FLIGHT)]
    if link.delay_ns or link.jitter_ns:
        said += ["delay", _microseconds(link.delay_ns)]
        if link.jitter_ns:
            said += [_microseconds(link.jitter_ns)]
    if link.down:
        said += ["loss", "random", "100%"]
    elif link.burst:
        burst = link.burst
        parts = (burst.to_bad, burst.to_good, burst.loss_in_bad, burst.loss_in_good)
        said += ["loss", "gemodel", *(_percent(part) for part in parts)]
    elif link.loss:
        said += ["loss", "random", _percent(link.loss)]
    if link.duplicate:
        said += ["duplicate", _percent(link.duplicate)]
    if link.corrupt:
        said += ["corrupt", _percent(link.corrupt)]
    if link.jitter_ns and not link.jitter_free:
        said += ["rate", KEEPS_ORDER]
    return tuple(said)


def qdiscs(leg: str, direction: Direction, link: Link, mtu: int, verb: str) -> list[Step]:
    """Both qdiscs of a direction; `verb` is `add`, or `change` while the lab runs."""
    said = [rate_words(link, mtu), luck_words(link)]
    if link.loss_before:
        said.reverse()
    return [
        Step(place.space, ("tc", "qdisc", verb, "dev", place.device, "root", "handle", "1:", *netem))
        for place, netem in zip(places(leg, direction), said, strict=True)
    ]


def set_up(settings: LabSettings) -> list[Step]:
    """Everything, in order; the namespaces exist, with loopback up."""
    steps: list[Step] = []
    for space in spaces_of(settings):
        for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            steps.append(Step(space, ("sh", "-c", f"echo 1 > /proc/sys/{key}")))
        for key in ("all", "default"):
            steps.append(Step(space, ("sh", "-c", f"echo 0 > /proc/sys/net/ipv4/conf/{key}/rp_filter")))
    for name in settings.hosts:
        steps += _wires(settings, name)
    for name, leg in settings.legs.items():
        for direction in DIRECTIONS:
            steps += qdiscs(name, direction, leg.link(direction), settings.mtu, "add")
    return steps


def counters_of(link: Link, first: dict[str, Any], second: dict[str, Any]) -> dict[str, int | None]:
    """A direction's counters from the two qdiscs' objects of `tc -s -j qdisc show`. What leaves the first was offered to
    the second. netem counts a packet lost by chance and one beyond the limit in one number, so where the first has the
    rate its drops are the queue's, the second's are luck's. Frames' Ethernet headers are taken off."""
    rated, lucky = (second, first) if link.loss_before else (first, second)
    entering, leaving = (lucky, rated) if link.loss_before else (rated, lucky)
    offered = entering["packets"] + entering["drops"]
    lost, mean = lucky["drops"], entering["bytes"] / entering["packets"] if entering["packets"] else 0.0
    return {
        "offered_packets": offered,
        "offered_bytes": round(offered * max(0.0, mean - ETHERNET)),
        "delivered_packets": leaving["packets"],
        "delivered_bytes": leaving["bytes"] - ETHERNET * leaving["packets"],
        "lost_random": 0 if link.burst or link.down else lost,
        "lost_burst": lost if link.burst and not link.down else 0,
        "lost_queue": rated["drops"],
        "lost_policer": 0,
        "lost_down": lost if link.down else 0,
        "lost_mtu": 0,
        "marked": 0,
        "duplicated": None,
        "corrupted": None,
        "reordered": 0,
    }


def _microseconds(ns: int) -> str:
    """As tc reads it, exactly; it knows no `ns`."""
    whole, rest = divmod(ns, 1000)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".") + "us"


def _percent(share: int) -> str:
    """Parts per billion as tc reads them, exactly."""
    whole, rest = divmod(share, CERTAIN // 100)
    return f"{whole}.{rest:07d}".rstrip("0").rstrip(".") + "%"


def _mac(host: str, number: int) -> str:
    """A device's address: locally administered, one for each end of each wire."""
    return f"02:77:00:00:{HOSTS.index(host) + 1:02x}:{number:02x}"


def _wires(settings: LabSettings, name: str) -> list[Step]:
    """A host's devices as far as the hub, their addresses, routes and neighbours."""
    mtu, legged = str(settings.mtu), name in settings.legs
    ends = [(name, "lab0")]
    if legged:
        ends += [(f"{name}.1", "to-host"), (f"{name}.1", "to-hub"), (f"{name}.2", "to-host"), (f"{name}.2", "to-hub")]
    ends.append(("hub", f"leg-{name}"))
    mac = {end: _mac(name, number) for number, end in enumerate(ends)}
    steps: list[Step] = []
    for near, far in zip(ends[::2], ends[1::2], strict=True):
        peer = ("peer", "name", far[1], "mtu", mtu, "address", mac[far], "netns", f"@{far[0]}")
        steps.append(
            Step(near[0], ("ip", "link", "add", near[1], "mtu", mtu, "address", mac[near], "type", "veth", *peer))
        )
    for space, device in ends:
        steps.append(Step(space, ("ethtool", "-K", device, "gro", "off", "gso", "off", "tso", "off")))
        steps.append(Step(space, ("ip", "link", "set", device, "gso_max_segs", "1", "up")))
    own = host_of(name)
    steps.append(Step(name, ("ip", "address", "add", f"{own.address4}/24", "dev", "lab0")))
    steps.append(Step(name, ("ip", "address", "add", f"{own.address6}/64", "dev", "lab0", "nodad")))
    others = [host_of(other) for other in settings.hosts if other != name]
    # Towards the host.
    for near, far in zip(ends[::2], ends[1::2], strict=True):
        if far[0] != name:
            steps += _reach(far, mac[near], [own])
    # Towards everybody else.
    for near, far in zip(ends[::2], ends[1::2], strict=True):
        steps += _reach(near, mac[far], others, routed=near[0] != name)
    return steps


def _reach(end: tuple[str, str], mac: str, hosts: list[Any], routed: bool = True) -> list[Step]:
    """Hosts are reached through a device, at the MAC of its other end."""
    space, device = end
    steps = []
    for host in hosts:
        for address, bits in ((host.address4, 32), (host.address6, 128)):
            if routed:
                steps.append(Step(space, ("ip", "route", "add", f"{address}/{bits}", "dev", device)))
            neighbour = ("ip", "neighbour", "add", address, "lladdr", mac, "dev", device, "nud", "permanent")
            steps.append(Step(space, neighbour))
    return steps
