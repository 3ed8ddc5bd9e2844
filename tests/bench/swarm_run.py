"""What one crowd showed, and how busy the machine was meanwhile."""

import dataclasses
import math
import pathlib
import time

from .common import median

QUIET = 0.7  # idle share of a machine on which agents wait and nobody builds


def rank(values, share):
    """The smallest value that at least `share` of the values do not exceed."""
    values = sorted(values)
    return values[max(0, math.ceil(share * len(values)) - 1)]


class Machine:
    """What the whole machine's processors did since it was made: others may be at work too."""

    patience = 0  # seconds that a run waits for the others to be quiet

    def __init__(self):
        self._before = self._read()

    @staticmethod
    def _read():
        return [int(field) for field in
                pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]

    def idle(self):
        spent = [after - before for before, after in zip(self._before, self._read())]
        return (spent[3] + spent[4]) / max(1, sum(spent))

    @classmethod
    def wait_until_quiet(cls):
        deadline = time.monotonic() + cls.patience
        while time.monotonic() < deadline:
            machine = cls()
            time.sleep(2)
            if machine.idle() > QUIET:
                return


@dataclasses.dataclass
class Run:
    """One crowd, of shoal or of the rival."""
    took: dict  # host: seconds to its last byte
    failed: dict  # host: why
    upstream: float  # blobs' worth of bytes
    cpu: float  # seconds, all participants
    idle: float  # share of the machine's processors
    progress: dict  # host: [(seconds, fraction)]
    sent: float = 0  # by the first holder, in blobs, headers and all
    came: float = 0  # to a fetcher, at the mean, in blobs, headers and all
    first_byte: dict = dataclasses.field(default_factory=dict)
    marks: list = dataclasses.field(default_factory=list)

    def p50(self):
        return rank(self.took.values(), 0.5) if self.took else math.nan

    def p99(self):
        return rank(self.took.values(), 0.99) if self.took else math.nan

    def slowest(self):
        return max(self.took.values()) if self.took else math.nan


def medians(runs):
    """The medians over runs of (p50, p99, slowest)."""
    return [median([get(run) for run in runs]) for get in (Run.p50, Run.p99, Run.slowest)]
