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
RETURNS = 3


class Get:
    """One blob for one host: when its first and its last byte came, or why it failed.

    A body that is cut short is gone on with by Range, as containerd does: up to RETURNS times
    without progress. Any answer but 200 or 206 is a failure: a runtime would turn to the registry.
    """

    def __init__(self, host, path, check=False):
        self.host = host
        self.name = host.name
        self.first_byte = self.seconds = None  # since all were asked
        self.received, self.size = 0, None
        self.error = None
        self.cuts = 0
        self._path = path
        self._hash = hashlib.sha256() if check else None
        self._fruitless, self._received_then = 0, 0
        self.connect()

    def connect(self):
        self._head, self._in_body = b"", False
        self.socket = self.host.connect(MIRROR)
        self.socket.setblocking(False)

    def ask(self):
        resume = f"Range: bytes={self.received}-\r\n" if self.received else ""
        self.socket.send(f"GET {self._path} HTTP/1.1\r\nHost: bench\r\n{resume}\r\n".encode())

    @property
    def done(self):
        return self.seconds is not None or self.error is not None

    def on_readable(self, now, buffer):
        """Returns false when the connection was cut, and is to be made again."""
        try:
            if not self._in_body:
                got = self._read_head(now)
            elif self._hash:
                got = self.socket.recv_into(buffer)
                self._take(got, now, buffer[:got])
            else:
                got = self.socket.recv_into(buffer, 0, socket.MSG_TRUNC)
                self._take(got, now)
            return got > 0 or self._cut("closed")
        except BlockingIOError:
            return True
        except OSError as error:
            return self._cut(str(error))

    def _cut(self, why):
        self.cuts += 1
        self._fruitless = 0 if self.received > self._received_then else self._fruitless + 1
        self._received_then = self.received
        if self._fruitless >= RETURNS:
            self.error = f"{why} after {self.received} of {self.size} bytes, time and again"
        return False

    def _read_head(self, now):
        data = self.socket.recv(4096)
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if end:
            lines = head.decode().split("\r\n")
            if lines[0].split(" ")[1] != ("206" if self.received else "200"):
                self.error = lines[0]
            else:
                fields = dict(line.lower().split(": ", 1) for line in lines[1:])
                self.size = self.received + int(fields["content-length"])
                self._in_body = True
                if body:
                    self._take(len(body), now, body)
        return len(data)

    def _take(self, got, now, data=b""):
        if got and self.first_byte is None:
            self.first_byte = now
        if self._hash:
            self._hash.update(data)
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
        """Until each has its blob or has failed; on_tick(seconds) 50 times a second."""
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
                whole = get.on_readable(time.monotonic() - self.started, buffer)
                if get.done or not whole:
                    selector.unregister(get.socket)
                if not get.done and not whole:
                    self._again(selector, get)
                left -= get.done

    @staticmethod
    def _again(selector, get):
        get.socket.close()
        try:
            get.connect()
            get.ask()
            selector.register(get.socket, selectors.EVENT_READ, get)
        except OSError as error:  # its agent is gone
            get.error = str(error)
