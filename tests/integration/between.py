"""Who stands between one client and its daemon, TCP and UDP, and holds back or drops what a test wants."""

import contextlib
import select
import socket
import threading

from lab import udp_socket


class Between:
    """Between a client and the daemon, TCP and UDP, one connection at a time. Client and daemon speak in turns: TLS hello,
    then our hello, then the proof with all that is behind it; the last can be held back, and the daemon's answer to it
    awaited, or held back. Datagrams towards the daemon can be held back, or dropped."""

    PROOF = 3  # the client's turn

    def __init__(self):
        self.target = None  # the daemon's, TCP and UDP: it is named ours first
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.tcp_port = self.listener.getsockname()[1]
        self.front = udp_socket()
        self.udp_port = self.front.getsockname()[1]
        self.back = udp_socket()
        self.client = None
        self.proof_passes = threading.Event()
        self.datagrams_pass = threading.Event()
        self.answer_passes = threading.Event()
        self.proof_passes.set()
        self.datagrams_pass.set()
        self.answer_passes.set()
        self.drop = 0  # so many datagrams more
        self.came = self.back_came = 0  # datagrams of the client, of the daemon
        self.passed = 0  # of the client's, on to the daemon
        self.turn = 0
        self.answered = False  # the daemon has spoken after the proof
        self.ended = False
        self.threads = [threading.Thread(target=self._tcp), threading.Thread(target=self._udp)]
        for thread in self.threads:
            thread.start()

    def _tcp(self):
        while not self.ended:
            if not select.select([self.listener], [], [], 0.05)[0]:
                continue
            client, _ = self.listener.accept()
            with client, socket.create_connection(self.target) as daemon, contextlib.suppress(OSError):
                self._carry_tcp(client, daemon)

    def _carry_tcp(self, client, daemon):
        self.turn, clients_turn = 0, False
        while not self.ended:
            heard = []
            if not (clients_turn and self.turn == self.PROOF and not self.proof_passes.is_set()):
                heard.append(client)
            if self.turn < self.PROOF or self.answer_passes.is_set():
                heard.append(daemon)
            ready, _, _ = select.select(heard, [], [], 0.01)
            for one in ready:
                if one is client and not clients_turn:
                    clients_turn = True
                    self.turn += 1
                    if self.turn == self.PROOF and not self.proof_passes.is_set():
                        break
                data = one.recv(65536)
                if not data:
                    return
                if one is daemon:
                    self.answered = self.answered or self.turn >= self.PROOF
                    clients_turn = False
                (daemon if one is client else client).sendall(data)

    def _udp(self):
        waiting = []
        while not self.ended:
            ready, _, _ = select.select([self.front, self.back], [], [], 0.01)
            for one in ready:
                for _ in range(64):
                    try:
                        data, source = one.recvfrom(65535)
                    except (BlockingIOError, ConnectionRefusedError):
                        break
                    if one is self.back:
                        if self.client is None:
                            continue  # meant for whoever had this port before
                        self.back_came += 1
                        self.front.sendto(data, self.client)
                        continue
                    self.client = source
                    self.came += 1
                    if self.drop > 0:
                        self.drop -= 1
                    else:
                        waiting.append(data)
            if self.datagrams_pass.is_set():
                for data in waiting:
                    self.passed += 1
                    self.back.sendto(data, self.target)
                waiting.clear()

    def close(self):
        self.ended = True
        for thread in self.threads:
            thread.join()
        for one in (self.listener, self.front, self.back):
            one.close()
