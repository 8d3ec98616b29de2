#!/usr/bin/env python3
"""Writes datagrams.txt from dataplane/README.md alone: an independent second implementation of the datagrams. Prints the
file; with --check compares and fails on a difference. Needs python3-cryptography, so no test runs it."""
import hashlib
import hmac
import pathlib
import struct
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

FILE = pathlib.Path(__file__).with_name("datagrams.txt")
HEADER = """# Whole datagrams (dataplane/README.md), written by datagrams.py. Hexadecimal, but for numbers, which are decimal.
# secret: of epoch 0; the datagram is sealed under `epoch`. plaintext: payload of DATA, or the frames one after another.
"""
SUITES = {"aes-256-gcm": AESGCM, "chacha20-poly1305": ChaCha20Poly1305}


def expand(secret, info, size=32):
    return hmac.new(secret, info + b"\x01", hashlib.sha256).digest()[:size]


def seal(suite, secret, epoch, number, header, plaintext):
    for _ in range(epoch):
        secret = expand(secret, b"update")
    nonce = bytes(a ^ b for a, b in zip(expand(secret, b"iv", 12), number.to_bytes(12, "big")))
    return header + SUITES[suite](expand(secret, b"key")).encrypt(nonce, plaintext, header)


def header(kind, epoch, connection, number, offset=None):
    first = 1 << 6 | {"data": 1, "frames": 2}[kind] << 2 | epoch & 3
    out = struct.pack(">BQI", first, connection, number & 0xFFFFFFFF)
    return out if offset is None else out + offset.to_bytes(6, "big")


def frame(kind, body):
    return struct.pack(">BH", kind, len(body)) + body


def varint(n):
    for size, tag in ((1, 0), (2, 1), (4, 2), (8, 3)):
        if n < 1 << (8 * size - 2):
            return (n | tag << (8 * size - 2)).to_bytes(size, "big")


def ack(largest, part, bitmap=False, delay_us=1500, credit=8 << 20, limit=1 << 30, drops=2, refusals=1, fill=17, held=b""):
    return frame(2, struct.pack(">BBQIQ", bitmap | bool(held) << 1, fill, largest, delay_us, credit) + limit.to_bytes(6, "big")
                 + struct.pack(">IIH", drops, refusals, len(part)) + part + held)


def times(a, b):
    product = 0
    for bit in range(8):
        product ^= (a << bit) * (b >> bit & 1)
    for bit in range(15, 7, -1):
        product ^= (0x11D << (bit - 8)) * (product >> bit & 1)
    return product


def repair(size, stride, slots, symbols, last, m, index, base=0):
    """One repair symbol over `symbols`, a dictionary of slot to bytes."""
    inverse = {slot: next(x for x in range(256) if times(x, 128 + index ^ slot) == 1) for slot in slots}
    out = bytearray(size)
    for slot in slots:
        for at, byte in enumerate(symbols[slot]):
            out[at] ^= times(inverse[slot], byte)
    mask = sum(1 << slot for slot in slots).to_bytes(16, "little")
    return frame(0x80, base.to_bytes(6, "big") + struct.pack(">HHHBB", size, stride, last, m, index) + mask + bytes(out))


def frames():
    # 90..100 and 40..60 arrived
    yield "ack as a range list", "ack", ack(100, varint(10) + varint(28) + varint(20))
    # 100, 98, 96 arrived
    yield "ack as a bitmap", "ack", ack(100, bytes([0b1010]), bitmap=True)
    # 90 to 100; 3 symbols were recovered, and 1 MiB to 3 MiB and 5000000 to 5001410 are there
    yield "ack with held data", "ack", ack(100, varint(10), held=b"".join(map(varint, (3, 1 << 20, 2 << 20, 5000000 - (3 << 20), 1410))))
    # 90000 packets came marked ECT(0), none ECT(1), 17 CE
    counts = b"".join(n.to_bytes(6, "big") for n in (90000, 0, 17))
    yield "ecn counts before their ack", "ecn_counts ack", frame(0x83, counts) + ack(100, varint(10))
    # two symbols of the third slab, 7 apart, and what is left of the file in a third one
    grid = {slot: bytes((slot * 31 + at * 7) & 255 for at in range(64 if slot < 2 else 20)) for slot in (0, 1, 5)}
    yield "a repair symbol", "repair", repair(64, 7, (0, 1, 5), grid, 20, 4, 3, base=(2 << 20) + 640)
    message = b"repair list"
    yield "control and ping", "control ping", frame(4, struct.pack(">Q", 4096) + struct.pack(">I", len(message)) + message) + frame(1, b"")
    yield "everything else", "padding credit oldest_needed key_update skip final_offset path_challenge path_response close", (
        frame(0, bytes(5)) + frame(3, struct.pack(">Q", 1 << 33) + (1 << 40).to_bytes(6, "big"))
        + frame(5, struct.pack(">Q", 77)) + frame(6, struct.pack(">I", 3))
        + frame(7, (4096).to_bytes(6, "big") + (8192).to_bytes(6, "big")) + frame(8, (1 << 20).to_bytes(6, "big"))
        + frame(0x81, bytes(range(8))) + frame(0x82, bytes(range(8))) + frame(9, b"\x07"))


def records():
    secret = bytes(range(32))
    for suite in SUITES:
        for epoch, number, offset in ((0, 0, 0), (1, 5, 1 << 20), (6, (1 << 32) + 9, (1 << 48) - 1 - 26)):
            plaintext = b"abcdefghijklmnopqrstuvwxyz"
            connection = 0x0123456789ABCDEF
            sealed = seal(suite, secret, epoch, number, header("data", epoch, connection, number, offset), plaintext)
            yield [("kind", "data"), ("name", f"epoch {epoch}"), ("suite", suite), ("secret", secret.hex()),
                   ("epoch", str(epoch)), ("number", str(number)), ("connection", f"{connection:016x}"),
                   ("offset", str(offset)), ("plaintext", plaintext.hex()), ("datagram", sealed.hex())]
        for name, kinds, plaintext in frames():
            connection = 0xFEDCBA9876543210
            sealed = seal(suite, secret, 2, 70000, header("frames", 2, connection, 70000), plaintext)
            yield [("kind", "frames"), ("name", name), ("suite", suite), ("secret", secret.hex()), ("epoch", "2"),
                   ("number", "70000"), ("connection", f"{connection:016x}"), ("frames", kinds),
                   ("plaintext", plaintext.hex()), ("datagram", sealed.hex())]


text = HEADER + "".join("\n" + "".join(f"{k} = {v}\n" for k, v in record) for record in records())
if sys.argv[1:] == ["--check"]:
    sys.exit(0 if FILE.read_text() == text else "datagrams.txt is not what datagrams.py writes")
print(text, end="")
