"""`./dev bench swarm [quick] [CASE...] [--runs N] [--hosts N] [--mib N] [--mbit N] [--wait S] [--no-rival]`

Crowds of hosts on one machine, each in a network namespace, on links shaped at both ends.
"""

import argparse
import dataclasses

from .common import ROOT, say
from .swarm_cases import Options, cold, holder
from .swarm_faults import lead, rolling, trouble
from .swarm_field import PRIORITY, preferred
from .swarm_liars import hostile
from .swarm_real import containerd, first_byte
from .swarm_run import Machine

CASES = {"holder": holder, "cold": cold, "containerd": containerd, "rolling": rolling,
         "trouble": trouble, "hostile": hostile, "lead": lead, "first-byte": first_byte}


def parse(arguments):
    parser = argparse.ArgumentParser("./dev bench swarm", allow_abbrev=False)
    parser.add_argument("case", nargs="*", help=f"{' '.join(CASES)}; all when none is named; "
                        "quick: few hosts and a small blob")
    parser.add_argument("--runs", type=int, help="runs whose median counts")
    parser.add_argument("--hosts", type=int, help="fetchers")
    parser.add_argument("--mib", type=int, help="the blob's size")
    parser.add_argument("--mbit", type=int, help="link rate; where 'idle' is about 0 the machine, "
                        "and not the links, decides: then try a lower one")
    parser.add_argument("--wait", type=int, default=0, metavar="S", help="before each run, wait up "
                        "to S seconds until most of the machine is idle")
    parser.add_argument("--no-rival", dest="rival", action="store_false",
                        help="without libtorrent")
    options = parser.parse_args(arguments)
    Machine.patience = options.wait
    names = [name for name in options.case if name != "quick"] or list(CASES)
    for name in names:
        if name not in CASES:
            parser.error(f"no such case: {name}; there are {' '.join(CASES)}, and quick")
    return names, Options("quick" in options.case, options.runs, options.hosts, options.mib,
                          options.mbit, options.rival, ROOT / "build/bench")


def bench(arguments=()):
    names, options = parse(list(arguments))
    say("A network namespace for each host, all on this machine; veth and a bridge; tbf on both "
        "ends of each link")
    say("(burst 256k, latency 20ms); congestion control cubic; files in memory (/dev/shm), in pages "
        "that were written just before. Shoal, libtorrent, registry")
    say(f"and clients alike run at priority {PRIORITY} (autogroup). T0 = bits of the blob / link "
        "rate; with the headers of")
    say("Ethernet, IP and TCP one host alone needs 1.045 T0. In blobs: 'upstream' is what the "
        "registry gave; 'sent' what the")
    say("link of the first holder or registry carried away; 'came' what a fetcher's link carried "
        "in, at the mean: all requests,")
    say("maps and acknowledgements too, but headers once for each of the kernel's large frames. "
        "'idle' is the share of all")
    say("processors left over: about 0 means that the machine decided, and not the links.")
    with preferred():
        for name in names:
            say()
            say(f"-- swarm {name}{' (quick)' if options.quick else ''}")
            CASES[name](dataclasses.replace(options))
