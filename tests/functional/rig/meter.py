"""A meter at a host's link: how many bytes passed in any window of time."""

import dataclasses
import pathlib
import threading
import time


@dataclasses.dataclass(frozen=True)
class Sample:
    before: float  # the counters were read between these two
    after: float
    received: int
    sent: int


class Meter(threading.Thread):
    """Reads the counters of eth0 while the `with` lasts."""

    def __init__(self, host, pause=0.05):
        super().__init__(daemon=True)
        self._counters = pathlib.Path(f"/proc/{host.holder.pid}/net/dev")
        self._pause = pause
        self._over = threading.Event()
        self.samples = []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()
        self._read()

    def run(self):
        while not self._over.is_set():
            self._read()
            self._over.wait(self._pause)

    def _read(self):
        before = time.monotonic()
        line = next(line for line in self._counters.read_text().splitlines() if "eth0:" in line)
        fields = line.split(":")[1].split()
        self.samples.append(Sample(before, time.monotonic(), int(fields[0]), int(fields[8])))

    def _windows(self, way, seconds):
        """(bytes, the longest time in which they may have passed, the shortest)."""
        first = 0
        for number, last in enumerate(self.samples):
            while first + 1 < number and \
                    last.before - self.samples[first + 1].after >= seconds:
                first += 1
            begin = self.samples[first]
            if last.before - begin.after >= seconds:
                yield (getattr(last, way) - getattr(begin, way), last.after - begin.before,
                       last.before - begin.after)

    def fastest(self, way, seconds):
        """Bytes a second in the fastest window of at least `seconds`, taking its time as long as it
        may have been. way: "received" or "sent"."""
        return max(count / longest for count, longest, _ in self._windows(way, seconds))

    def slowest(self, way, seconds):
        return min(count / shortest for count, _, shortest in self._windows(way, seconds))

    def total(self, way):
        return getattr(self.samples[-1], way) - getattr(self.samples[0], way)
