"""Memory for a run's files that the machine's own host has found already."""

import os
import pathlib
import tempfile
import threading

MIB = 1 << 20
_AHEAD = 256 * MIB
_SPARE = 2 << 30  # left alone for programs
_EVERY = 0.02  # seconds; at 1 GB/s a tenth of what is ahead


class WarmMemory:
    """For the time of a `with`: whoever takes pages gets ones that were written lately.

    A virtual machine's page that was not used for some seconds may be gone from its host, and takes
    five to ten times as long to write as another: 0.2 GB/s for the whole machine, where a crowd
    of 16 hosts on links of 100 Mbit/s writes as much. So `size` bytes of memory are written
    before, kept, and let go as pages are taken, a little ahead: the kernel gives those out first.
    """

    def __init__(self, size):
        size = min(size + _AHEAD, meminfo("MemAvailable") - _SPARE)
        self._size = max(0, size) // MIB * MIB
        self._over = threading.Event()

    def __enter__(self):
        handle, path = tempfile.mkstemp(prefix="shoal-bench-", dir="/dev/shm")
        os.unlink(path)
        self._file = os.fdopen(handle, "wb", buffering=0)
        block = b"\x5a" * MIB
        for _ in range(self._size // MIB):
            self._file.write(block)
        self._free = meminfo("MemFree") + _AHEAD
        self._thread = threading.Thread(target=self._give, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._over.set()
        self._thread.join()
        self._file.close()

    def _give(self):
        while self._size:
            lacking = self._free - meminfo("MemFree")
            if lacking > 0:
                self._size = max(0, self._size - lacking) // MIB * MIB
                os.ftruncate(self._file.fileno(), self._size)
            if self._over.wait(_EVERY):
                return


def meminfo(name):
    """Bytes, as /proc/meminfo has them."""
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/meminfo has no {name}")
