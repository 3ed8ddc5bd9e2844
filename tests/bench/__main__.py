"""`./dev bench [BENCH]...`: all of those below but swarm when none is named.

`./dev bench swarm [...]` is a bench of its own, with arguments of its own: swarm.py.
"""

import sys

from . import (federation, fetch, index, latency, limits, lookups, memory, peers, pull, search,
               serve, swarm, upstream)
from .common import machine, say

BENCHES = {"serve": serve, "fetch": fetch, "pull": pull, "memory": memory, "latency": latency,
           "limits": limits, "upstream": upstream, "search": search, "index": index,
           "peers": peers, "lookups": lookups, "federation": federation}


def main():
    if sys.argv[1:2] == ["swarm"]:
        say(machine())
        swarm.bench(sys.argv[2:])
        return
    names = sys.argv[1:] or list(BENCHES)
    for name in names:
        if name not in BENCHES:
            sys.exit(f"no such bench: {name}; there are {' '.join(BENCHES)}, and swarm")
    say(machine())
    for name in names:
        say()
        say(f"== {name}")
        BENCHES[name].bench()


if __name__ == "__main__":
    main()
