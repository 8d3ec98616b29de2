"""Finds the programs that a lab is made of, and says how to get what is missing."""

import errno
import glob
import os
import shutil
from pathlib import Path

from .errors import LabError

HOUSE = Path(__file__).resolve().parents[2]
# Set-up tools live in sbin, which an ordinary user's PATH may lack.
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PACKAGES = {
    "ip": "iproute2",
    "tc": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ethtool": "ethtool",
    "iperf3": "iperf3",
    "ping": "iputils-ping",
}


def use_sbin() -> None:
    """Adds the sbin directories to PATH, at its end."""
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*path, *(place for place in _SBIN if place not in path)])


def need(*names: str) -> None:
    """LabError naming the missing ones of Debian's programs, and their packages."""
    missing = [name for name in names if not shutil.which(name)]
    if missing:
        packages = sorted({_PACKAGES.get(name, name) for name in missing})
        raise LabError(f"missing: {' '.join(missing)}; install with: apt install {' '.join(packages)} (or tools/bootstrap)")


def need_tun() -> None:
    """LabError when /dev/net/tun can not be opened."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        how = {
            errno.ENOENT: "as root: modprobe tun; in a container: --device /dev/net/tun",
            errno.EACCES: "as root: chmod 0666 /dev/net/tun (as most distributions have it), or run the lab as root",
            errno.EPERM: "in a container: --device /dev/net/tun",
        }.get(error.errno or 0, "the kernel needs CONFIG_TUN; as root: modprobe tun")
        raise LabError(f"the emulator needs /dev/net/tun ({error.strerror}): {how}") from error


def ours(name: str) -> str:
    """The path of one of our own programs: in $PENSTOCK_BIN, else in build/release/bin of this tree, else in another
    build/*/bin. LabError saying how to build it."""
    told = os.environ.get("PENSTOCK_BIN")
    builds = HOUSE / "build"
    places = [told] if told else [str(builds / "release" / "bin"), *sorted(glob.glob(str(builds / "*" / "bin")))]
    for place in places:
        path = os.path.join(place, name)
        if os.access(path, os.X_OK):
            return os.path.abspath(path)
    where = f"$PENSTOCK_BIN ({told})" if told else "build/*/bin"
    raise LabError(
        f"{name} is not in {where}; build it with: cmake --preset release && cmake --build --preset release,"
        " or set PENSTOCK_BIN to the directory of the programs"
    )
