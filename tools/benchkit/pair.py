"""Two hosts joined by one plain veth: no emulator, no shaping, the kernel's own offloads. What a clean link means here."""

import json
import subprocess
from typing import Any

from labkit.spaces import Host, Spaces

MTU = 1500
_DEVICE = "veth"
# What a veth takes in one piece, and so never cuts: TCP's runs of 64 KiB, and batches of UDP_SEGMENT. Told apart, since each
# of them is worth a factor of five to whom it serves.
OFFLOADS: dict[str, tuple[str, ...]] = {
    "all": (),
    "no-tcp": ("tso",),
    "none": ("tso", "gso", "tx-udp-segmentation"),
}


class Pair:
    """A and B as in a lab, with a lab's addresses, as long as a `with` block lives; offers what contenders use of a Lab.
    `offloads`: what the veth takes uncut, a key of OFFLOADS; the kernel's default is all.
    Requires: labkit.contain() was called, so that nothing outlives the program. LabError when the machine has no
    namespaces to give. Threads: one."""

    def __init__(self, offloads: str = "all") -> None:
        self._switched_off = OFFLOADS[offloads]

    def __enter__(self) -> "Pair":
        self.spaces = Spaces(("A", "B"))
        try:
            peer = ["peer", "name", _DEVICE, "netns", self.spaces.path("B")]
            self.spaces.run("A", ["ip", "link", "add", _DEVICE, "mtu", str(MTU), "type", "veth", *peer])
            for name, host in self.hosts.items():
                self.spaces.run(name, ["ip", "link", "set", _DEVICE, "mtu", str(MTU), "up"])
                for feature in self._switched_off:
                    self.spaces.run(name, ["ethtool", "-K", _DEVICE, feature, "off"])
                self.spaces.run(name, ["ip", "address", "add", f"{host.address4}/24", "dev", _DEVICE])
                self.spaces.run(name, ["ip", "address", "add", f"{host.address6}/64", "dev", _DEVICE, "nodad"])
        except BaseException:
            self.spaces.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.spaces.end_processes()
        finally:
            self.spaces.close()

    @property
    def hosts(self) -> dict[str, Host]:
        """By name, A first."""
        return self.spaces.hosts

    def popen(self, host: str, argv: list[str], **options: Any) -> "subprocess.Popen[Any]":
        """As Lab.popen: the process is the program itself."""
        return self.spaces.popen(host, argv, **options)

    def delivered(self) -> dict[str, int]:
        """What B's device has received so far: `bytes` and `packets` (a batch that was never cut counts as one)."""
        told = json.loads(self.spaces.run("B", ["ip", "-j", "-s", "link", "show", "dev", _DEVICE]))[0]["stats64"]["rx"]
        return {"bytes": int(told["bytes"]), "packets": int(told["packets"])}
