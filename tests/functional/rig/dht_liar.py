"""Somebody in a DHT who answers everything, with nonsense. BEP 5 is what it speaks."""

import os
import random
import socket
import threading


def encode(value):
    """Bencoding."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    return b"d" + b"".join(encode(key) + encode(value[key]) for key in sorted(value)) + b"e"


def decode(data, at=0):
    """(value, where it ends). Raises ValueError or IndexError."""
    kind = data[at:at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1:end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at:at + 1] != b"e":
            item, at = decode(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2]))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1:end], end


def compact(address, port):
    return socket.inet_aton(address) + port.to_bytes(2, "big")


class DhtLiar:
    """Answers on UDP port 7384 of `host`, always as whoever would be nearest to what is asked for.

    `named`: (address, port) of peers that it names for every key; more are made up, so that there
    are 100 each time.
    """

    def __init__(self, host, named=()):
        self.host = host
        self.asked = {}
        self._named = list(named)
        self._random = random.Random(7)
        with host.inside():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind((host.address, 7384))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _made_up(self):
        prefix = self.host.address.rsplit(".", 1)[0]
        return f"{prefix}.{self._random.randrange(100, 250)}", self._random.randrange(1, 65536)

    def _answer(self, asked):
        target = asked[b"a"].get(b"info_hash") or asked[b"a"].get(b"target") or os.urandom(20)
        near = target[:-1] + bytes([self._random.randrange(256)])
        reply = {b"id": near, b"token": b"x" * self._random.randrange(1, 40),
                 b"nodes": b"".join(target[:-1] + bytes([i]) + compact(*self._made_up())
                                    for i in range(8))}
        if asked[b"q"] == b"get_peers":
            peers = self._named + [self._made_up() for _ in range(100 - len(self._named))]
            reply[b"values"] = [compact(*peer) for peer in peers]
        return encode({b"t": asked[b"t"], b"y": b"r", b"r": reply})

    def _garbage(self, asked):
        """What is no answer at all."""
        size = self._random.randrange(1, 200)
        return self._random.choice([
            os.urandom(size), b"d" + b"l" * 400 + b"e", b"d1:ad2:id20:", b"",
            encode({b"t": asked[b"t"], b"y": b"r", b"r": {b"id": b"short", b"values": [b"x", 7]}}),
            encode({b"t": asked[b"t"], b"y": b"r",
                    b"r": {b"id": os.urandom(20), b"nodes": b"y" * 27, b"values": b"z"}}),
            encode({b"t": asked[b"t"], b"y": b"e", b"e": [203, b"no " + os.urandom(9)]})])

    def _serve(self):
        while True:
            try:
                data, peer = self._socket.recvfrom(65536)
            except OSError:
                return
            try:
                asked, _ = decode(data)
                if asked.get(b"y") != b"q":
                    continue
                self.asked[asked[b"q"]] = self.asked.get(asked[b"q"], 0) + 1
                for answer in (self._garbage(asked), self._answer(asked)):
                    self._socket.sendto(answer, peer)
            except (ValueError, IndexError, KeyError, AttributeError, OSError):
                continue

    def close(self):
        self._socket.close()
