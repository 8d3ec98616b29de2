#!/usr/bin/env python3
"""Writes key_schedule.txt from PROTOCOL section 1 alone, with Python's hmac and hashlib: an independent second
implementation. Without arguments it prints the file; with --check it compares and fails on a difference."""
import hashlib
import hmac
import pathlib
import sys

FILE = pathlib.Path(__file__).with_name("key_schedule.txt")
HEADER = """# The whole key schedule (common/crypto/key_schedule.h), written by key_schedule.py. Hexadecimal.
# suite: 1 = AES-256-GCM, 2 = ChaCha20-Poly1305. direction 1 = client to daemon, 2 = daemon to client.
# nonce: for packet number 2^32 + 5 under this epoch's iv.
"""


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(secret, info, size=32):
    return mac(secret, info + b"\x01")[:size]  # one block of RFC 5869 is all that 32 bytes need


def info(purpose, suite, direction, lane):
    return b"penstock/1 " + purpose + b"\x00" + bytes([suite, direction]) + lane.to_bytes(2, "big")


def records():
    for name, k, exporter in (
        ("counting", bytes(range(32)), bytes(range(128, 160))),
        ("zeros", bytes(32), bytes(32)),
        ("hashed", hashlib.sha256(b"K").digest(), hashlib.sha256(b"exporter").digest()),
    ):
        prk = mac(exporter, k)
        for suite in (1, 2):
            yield [
                ("record", "session"), ("name", name), ("suite", str(suite)), ("k", k.hex()), ("exporter", exporter.hex()),
                ("client_confirm", expand(prk, info(b"client-confirm", suite, 0, 0)).hex()),
                ("daemon_confirm", expand(prk, info(b"daemon-confirm", suite, 0, 0)).hex()),
            ]
            for lane in (0, 1, 63):
                for direction in (1, 2):
                    secret = expand(prk, info(b"data", suite, direction, lane))
                    for epoch in range(3):
                        iv = expand(secret, b"iv", 12)
                        number = (2**32 + 5).to_bytes(12, "big")
                        yield [
                            ("record", "keys"), ("lane", str(lane)), ("direction", str(direction)), ("epoch", str(epoch)),
                            ("secret", secret.hex()), ("key", expand(secret, b"key").hex()), ("iv", iv.hex()),
                            ("nonce", bytes(a ^ b for a, b in zip(iv, number)).hex()),
                        ]
                        secret = expand(secret, b"update")


def main():
    text = HEADER + "".join("\n" + "".join(f"{n} = {v}\n" for n, v in r) for r in records())
    if sys.argv[1:] != ["--check"]:
        sys.stdout.write(text)
    elif FILE.read_text() != text:
        sys.exit(f"{FILE.name} is not what PROTOCOL section 1 gives")


main()
