"""What people use today over TCP: scp, rsync, ftp, https, and iperf3 as the measure of plain TCP."""

import getpass
import json
import os
import subprocess
from pathlib import Path

from labkit import Lab

from .contender import Client, Contender, Server, Task, is_only_user
from .workspace import Workspace

_SSH_PORT, _RSYNC_PORT, _FTP_PORT, _HTTPS_PORT, _IPERF_PORT = 2222, 8730, 2121, 8443, 5201


def _quiet(argv: list[str]) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class _OverSsh(Contender):
    """What scp and rsync share: a daemon of our own with keys of our own."""

    programs = ("sshd", "ssh", "ssh-keygen")

    def prepare(self, lab: Lab, workspace: Workspace) -> None:
        place = workspace.keep / "ssh"
        if place.exists():
            return
        place.mkdir(mode=0o700)
        for name in ("host", "user"):
            _quiet(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)])
        (place / "authorized").write_bytes((place / "user.pub").read_bytes())
        (place / "config").write_text(
            f"HostKey {place}/host\nAuthorizedKeysFile {place}/authorized\nPidFile none\nUsePAM no\nStrictModes no\n"
            "PermitRootLogin yes\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n",
            encoding="ascii",
        )
        # sshd insists on this directory, whoever starts it.
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

    def server(self, task: Task) -> Server:
        place = task.workspace.keep / "ssh"
        return Server(["/usr/sbin/sshd", "-D", "-e", "-f", str(place / "config"), "-p", str(_SSH_PORT)], _SSH_PORT)

    def options(self, task: Task) -> list[str]:
        place = task.workspace.keep / "ssh"
        return [
            *("-F", "none", "-i", str(place / "user"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"),
            *("-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-c", "aes128-gcm@openssh.com"),
        ]


class Scp(_OverSsh):
    name, remark = "scp", "encrypted"
    programs = (*_OverSsh.programs, "scp")

    def client(self, task: Task) -> Client:
        where = f"{getpass.getuser()}@{task.address}:{task.target}/"
        return Client(["scp", "-q", *self.options(task), "-P", str(_SSH_PORT), str(task.source), where])


class RsyncSsh(_OverSsh):
    name, remark = "rsync-ssh", "encrypted"
    programs = (*_OverSsh.programs, "rsync")

    def client(self, task: Task) -> Client:
        shell = " ".join(["ssh", *self.options(task), "-p", str(_SSH_PORT)])
        where = f"{getpass.getuser()}@{task.address}:{task.target}/"
        return Client(["rsync", "-W", "-e", shell, str(task.source), where])


class RsyncDaemon(Contender):
    """Also with the kernel's bbr: the best that a stock tool reaches on a lossy path."""

    programs = ("rsync",)

    def __init__(self, congestion: str) -> None:
        self.congestion = congestion
        self.name, self.remark = f"rsyncd-{congestion}", f"in the clear, TCP {congestion}"

    def server(self, task: Task) -> Server:
        config = task.workspace.keep / "rsyncd.conf"
        config.write_text(
            f"use chroot = no\nport = {_RSYNC_PORT}\n[target]\npath = {task.target}\nread only = no\n"
            + ("" if is_only_user() else f"uid = {os.geteuid()}\ngid = {os.getegid()}\n"),
            encoding="ascii",
        )
        daemon = ["rsync", "--daemon", "--no-detach", f"--config={config}"]
        if is_only_user():  # as root it would call setgroups(2), which such a namespace forbids
            daemon = ["unshare", "--user", "--map-user=1000", "--map-group=1000", *daemon]
        return Server(daemon, _RSYNC_PORT)

    def client(self, task: Task) -> Client:
        return Client(["rsync", "-W", str(task.source), f"rsync://{task.address}:{_RSYNC_PORT}/target/"])


class LftpParallel(Contender):
    name, remark = "lftp", "in the clear, 8 TCP connections"
    serves_in = "A"
    programs = ("lftp", "vsftpd")

    def server(self, task: Task) -> Server:
        # An anonymous visitor's root must be a directory in which he can not write, so root serves as the package's user.
        becomes_another = os.geteuid() == 0 and not is_only_user()
        empty = task.workspace.keep / "empty"
        empty.mkdir(exist_ok=True)
        config = task.workspace.keep / "vsftpd.conf"
        config.write_text(
            f"listen=YES\nlisten_port={_FTP_PORT}\nanonymous_enable=YES\nanon_root={task.source.parent}\nno_anon_password=YES\n"
            f"ftp_username={'ftp' if becomes_another else getpass.getuser()}\nrun_as_launching_user={'NO' if becomes_another else 'YES'}\n"
            f"local_enable=NO\nwrite_enable=NO\nbackground=NO\nsecure_chroot_dir={empty}\nseccomp_sandbox=NO\n"
            "xferlog_enable=NO\nisolate=NO\nisolate_network=NO\npasv_address=" + task.address + "\n",
            encoding="ascii",
        )
        return Server(["vsftpd", str(config)], _FTP_PORT)

    def client(self, task: Task) -> Client:
        script = (
            "set ftp:ssl-allow no; set net:max-retries 3; set xfer:clobber no; set cmd:fail-exit yes; set cmd:interactive no;"
            f" open -p {_FTP_PORT} {task.address}; pget -n 8 {task.source.name} -o {task.target}/{task.source.name}; exit"
        )
        home = task.workspace.keep / "lftp"
        home.mkdir(exist_ok=True)
        return Client(["lftp", "--norc", "-c", script], {"HOME": str(home), "LFTP_HOME": str(home)})


class CurlHttps(Contender):
    name, remark = "curl-https", "encrypted, from nginx"
    serves_in = "A"
    programs = ("curl", "nginx", "openssl")

    def prepare(self, lab: Lab, workspace: Workspace) -> None:
        place = workspace.keep / "nginx"
        if place.exists():
            return
        place.mkdir()
        address = lab.hosts[self.serves_in].address4
        _quiet(
            ["openssl", "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "2", "-subj", "/CN=lab"]
            + ["-addext", f"subjectAltName=IP:{address}", "-keyout", str(place / "key.pem"), "-out", str(place / "cert.pem")]
        )

    def server(self, task: Task) -> Server:
        place = task.workspace.keep / "nginx"
        temporary = " ".join(
            f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = place / "nginx.conf"
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        config.write_text(
            f"{user} daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log;\nevents {{}}\n"
            f"http {{ access_log off; sendfile on; {temporary}\n server {{ listen {task.address}:{_HTTPS_PORT} ssl;"
            f" ssl_certificate {place}/cert.pem; ssl_certificate_key {place}/key.pem; root {task.source.parent}; }} }}\n",
            encoding="ascii",
        )
        return Server(["nginx", "-p", str(place), "-e", str(place / "error.log"), "-c", str(config)], _HTTPS_PORT)

    def client(self, task: Task) -> Client:
        certificate = task.workspace.keep / "nginx" / "cert.pem"
        url = f"https://{task.address}:{_HTTPS_PORT}/{task.source.name}"
        return Client(["curl", "-sSf", "--cacert", str(certificate), "-o", str(task.target / task.source.name), url])


class Iperf(Contender):
    """Plain TCP without a file: what the kernel alone would do."""

    programs = ("iperf3",)
    writes_file = False

    def __init__(self, congestion: str) -> None:
        self.congestion = congestion
        self.name, self.remark = f"iperf3-{congestion}", f"in the clear, no file, TCP {congestion}"

    def server(self, task: Task) -> Server:
        return Server(["iperf3", "-s", "-1", "-p", str(_IPERF_PORT)], _IPERF_PORT)

    def client(self, task: Task) -> Client:
        size = str(task.source.stat().st_size)
        return Client(["iperf3", "-c", task.address, "-p", str(_IPERF_PORT), "-n", size, "-J"])

    def seconds(self, task: Task, said: Path, seconds: float) -> float:
        """Its client ends when all is written, not when all is received; the rate is what the receiver saw."""
        received = json.loads(said.read_text(encoding="utf-8"))["end"]["sum_received"]
        return float(task.source.stat().st_size * received["seconds"] / max(1, received["bytes"]))
