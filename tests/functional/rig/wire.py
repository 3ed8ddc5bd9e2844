"""What goes over a host's link, read by a third party."""

import ipaddress
import socket
import threading

_EVERY_PROTOCOL = 0x0003
_ROOM = 64 << 20  # bytes of frames that wait to be read


class Wire:
    """Keeps every frame of the host's link, from here to stop()."""

    def __init__(self, host):
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                         socket.htons(_EVERY_PROTOCOL))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, _ROOM)  # SO_RCVBUFFORCE
        self._socket.bind(("eth0", 0))
        self._socket.settimeout(0.1)
        self._frames = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while not self._stopped.is_set():
            try:
                self._frames.append(self._socket.recv(1 << 17))
            except TimeoutError:
                pass

    def _read_what_came(self):
        """On a busy machine the reader is behind."""
        self._socket.setblocking(False)
        try:
            while True:
                self._frames.append(self._socket.recv(1 << 17))
        except BlockingIOError:
            pass

    def frames(self):
        """Those until now."""
        return list(self._frames)

    def stop(self):
        """Ends; returns the frames, in order."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._thread.join()
            self._read_what_came()
            self._socket.close()
        return self._frames


def destinations(frames):
    """(address, protocol, port) of each frame of IPv4 with ports that is no fragment."""
    for frame in frames:
        if frame[12:14] == b"\x08\x00" and frame[23] in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
            ports = 14 + (frame[14] & 15) * 4
            yield (ipaddress.ip_address(frame[30:34]), frame[23],
                   int.from_bytes(frame[ports + 2:ports + 4], "big"))
