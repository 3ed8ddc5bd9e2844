"""Light clients: each pulls a blob through the mirror of its host and throws the bytes away.

All of them live in one thread, so that they ask in the same moment and cost next to nothing: the
kernel drops the bytes (MSG_TRUNC), unless they are to be checked.
"""

import hashlib
import selectors
import socket
import time

MIRROR = 7380
BUFFER = 1 << 20


class Get:
    """One GET: when its first and its last byte came, or why it failed."""

    def __init__(self, host, path, check=False, start=0):
        self.host = host
        self.name = host.name
        self.first_byte = self.seconds = None  # since all were asked
        self.received, self.size = 0, None
        self.error = None
        self._path, self._head = path, b""
        self._hash = hashlib.sha256() if check else None
        self.socket = host.connect(MIRROR)
        self.socket.setblocking(False)

    def ask(self):
        self.socket.send(f"GET {self._path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    @property
    def done(self):
        return self.seconds is not None or self.error is not None

    def on_readable(self, now, buffer):
        try:
            if self.size is None:
                self._read_head(now)
            elif self._hash:
                got = self.socket.recv_into(buffer)
                self._hash.update(buffer[:got])
                self._count(got, now)
            else:
                self._count(self.socket.recv_into(buffer, 0, socket.MSG_TRUNC), now)
        except BlockingIOError:
            pass
        except OSError as error:
            self.error = str(error)

    def _read_head(self, now):
        data = self.socket.recv(4096)
        if not data:
            self.error = "closed before the headers"
            return
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.decode().split("\r\n")
        if lines[0].split(" ")[1] != "200":
            self.error = lines[0]
            return
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        self.size = int(fields["content-length"])
        if body:
            if self._hash:
                self._hash.update(body)
            self._count(len(body), now)

    def _count(self, got, now):
        if got == 0:
            self.error = f"closed after {self.received} of {self.size} bytes"
            return
        if self.received == 0:
            self.first_byte = now
        self.received += got
        if self.received == self.size:
            self.seconds = now

    def right(self, blob):
        """Whether the bytes are those of the blob; for a GET that checks."""
        return self._hash.hexdigest() == blob.digest.split(":")[1]


class Crowd:
    """GETs of many hosts that begin in one moment."""

    def __init__(self, hosts, path, check=False):
        self.gets = [Get(host, path, check) for host in hosts]
        self.started = None  # time.monotonic()

    def run(self, timeout, on_tick=None):
        """Until each has its blob or has failed. on_tick(seconds) is called 50 times a second."""
        with selectors.DefaultSelector() as selector:
            for get in self.gets:
                selector.register(get.socket, selectors.EVENT_READ, get)
            self.started = time.monotonic()
            for get in self.gets:
                get.ask()
            self._loop(selector, timeout, on_tick)
        for get in self.gets:
            get.socket.close()
            if not get.done:
                get.error = f"not within {timeout:.0f} s: {get.received} of {get.size} bytes"
        return self.gets

    def _loop(self, selector, timeout, on_tick):
        buffer = memoryview(bytearray(BUFFER))
        left, next_tick = len(self.gets), 0.0
        while left and (now := time.monotonic() - self.started) < timeout:
            if on_tick and now >= next_tick:
                on_tick(now)
                next_tick = now + 0.02
            for key, _ in selector.select(0.02):
                get = key.data
                get.on_readable(time.monotonic() - self.started, buffer)
                if get.done:
                    selector.unregister(get.socket)
                    left -= 1
