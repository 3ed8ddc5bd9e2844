"""How soon 32 agents know a newcomer: by an index server, by LAN alone, by DHT alone.

All agents run on this one machine, in namespaces. Known is whose appearance an agent's log tells: it
has heard from the newcomer itself. Times are those of the logs.
"""

import os
import re
import time
from datetime import datetime

from tests.functional.rig.process import wait_until
from tests.functional.rig.rig import Rig

from .common import median, say

ROOM = 32
NEWCOMERS = int(os.environ.get("BENCH_NEWCOMERS", "5"))
QUIET = {"agent": {"log_level": "info"}}


def introduce(hosts):
    """Tells the hosts each other's addresses on the link for good.

    The kernel has one table of neighbours for all namespaces, of 1024 entries that are learnt: 33
    hosts that all talk to each other need more. What is told for good does not count.
    """
    links = {}
    for host in hosts:
        shown = host.run("ip", "link", "show", "eth0").stdout
        links[host.address] = re.search(r"link/ether (\S+)", shown)[1]
    for host in hosts:
        batch = host.folder / "neighbours"
        batch.write_text("".join(f"neigh replace {address} lladdr {link} dev eth0 nud permanent\n"
                                 for address, link in links.items() if address != host.address))
        host.run("ip", "-batch", batch)


def said(agent, what):
    """When an agent's log said so first, in seconds since the epoch; None: it did not yet."""
    line = re.search(rf"^(\S+) info +.*{re.escape(what)}", agent.log(), re.MULTILINE)
    return datetime.fromisoformat(line[1]).timestamp() if line else None


def until_known(agents, newcomer_of):
    """Seconds from the newcomer's start, and from when it serves, until each has heard from it."""
    begun = time.time()
    newcomer = newcomer_of()
    who = f"({newcomer.status()['id'][:12]}) appeared"
    time.sleep(1)  # asking would take the time that the agents need
    wait_until("all know the newcomer",
               lambda: all(said(agent, who) is not None for agent in agents), 60)
    serves = said(newcomer, " runs as ")
    return newcomer, [said(agent, who) - begun for agent in agents], serves - begun


def room(title, index, target):
    with Rig() as rig:
        first = rig.host("a0")
        options = dict(QUIET)
        if index == "rendezvous":
            rig.index_server("server")
            options["index"] = {"use": ["rendezvous"], "sync_interval": "10s", "rendezvous": [
                f"https://{rig.host('server').address}:7383"]}
        else:
            options["index"] = {"use": [index], "sync_interval": "10s"}
        if index == "dht":
            options["dht"] = {"bootstrap": [f"{first.address}:7384"]}
        names = [f"a{n}" for n in range(ROOM)] + [f"n{n}" for n in range(NEWCOMERS)]
        others = ["server"] if index == "rendezvous" else []
        introduce([rig.host(name) for name in names + others])
        agents = [rig.agent(f"a{n}", [], **options) for n in range(ROOM)]
        for agent in agents:
            wait_until("the room is complete", lambda agent=agent: (
                agent.status()["peers"]["alive"] >= ROOM - 1), 120)
        known, serving = [], []
        for n in range(NEWCOMERS):
            newcomer, times, serves = until_known(
                agents, lambda n=n: rig.agent(f"n{n}", [], **options))
            known.append(times)
            serving.append(serves)
            newcomer.stop()

    def told(times):
        times = sorted(times)
        return (f"median {median(times) * 1000:.0f} ms, "
                f"p99 {times[len(times) * 99 // 100] * 1000:.0f} ms, "
                f"slowest {times[-1] * 1000:.0f} ms")

    say(f"{title}: {NEWCOMERS} newcomers known to {ROOM} agents, from when they serve "
        f"{told([at - serves for times, serves in zip(known, serving) for at in times])}   "
        f"{target}; from their process's start "
        f"{told([at for times in known for at in times])}")


def bench():
    room("index server", "rendezvous", "target p99 200 ms")
    room("LAN alone", "lan", "target one beacon interval, 5 s")
    room("DHT alone", "dht", "target 5 s")
