"""Other people's tools that move files over UDP."""

import ipaddress

from .contender import Client, Contender, Server, Task

_UFTP_PORT, _SRT_PORT = 1044, 9000


class Uftp(Contender):
    """In unicast; it keeps to the rate that it is told, so it is told the link's."""

    name, remark = "uftp", "in the clear, rate given by hand"
    programs = ("uftp", "uftpd")
    congestion = None
    needs_rate = True

    def server(self, task: Task) -> Server:
        log = task.workspace.logs / "uftpd.log"
        argv = ["uftpd", "-d", "-D", str(task.target), "-I", task.address, "-L", str(log)]
        return Server([*argv, "-B", "4000000"], _UFTP_PORT, "udp")

    def client(self, task: Task) -> Client:
        assert task.rate_bps is not None
        # It knows a receiver by its IPv4 address as a number.
        receiver = f"0x{int(ipaddress.IPv4Address(task.address)):08x}"
        argv = ["uftp", "-M", task.address, "-P", task.address, "-H", receiver, "-B", "4000000"]
        return Client([*argv, "-R", str(task.rate_bps // 1000), str(task.source)])


class Srt(Contender):
    """srt-file-transmit in its file mode; the receiver's exit is the end, for it writes after the sender left."""

    name, remark = "srt", "in the clear"
    programs = ("srt-file-transmit",)
    congestion = None

    def server(self, task: Task) -> Server:
        argv = ["srt-file-transmit", "-q", f"srt://:{_SRT_PORT}?mode=listener", f"file://{task.target}/"]
        return Server(argv, _SRT_PORT, "udp", ends_itself=True)

    def client(self, task: Task) -> Client:
        return Client(["srt-file-transmit", "-q", f"file://{task.source}", f"srt://{task.address}:{_SRT_PORT}"])
