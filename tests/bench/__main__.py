"""`./dev bench [serve|fetch|pull|memory|latency]...`: all of them when none is named."""

import sys

from . import fetch, latency, memory, pull, serve
from .common import machine, say

BENCHES = {"serve": serve, "fetch": fetch, "pull": pull, "memory": memory, "latency": latency}


def main():
    names = sys.argv[1:] or list(BENCHES)
    for name in names:
        if name not in BENCHES:
            sys.exit(f"no such bench: {name}; there are {' '.join(BENCHES)}")
    say(machine())
    for name in names:
        say()
        say(f"== {name}")
        BENCHES[name].bench()


if __name__ == "__main__":
    main()
