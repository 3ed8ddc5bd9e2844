"""How soon 32 agents know a newcomer: by an index server, by LAN alone, by DHT alone.

All agents run on this one machine, in namespaces. Known is who is alive in `/v1/peers`, whose
answers the agents give in about a millisecond; the clock starts when the newcomer's process does.
"""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

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


def knows(agent, who):
    return any(peer["id"] == who and peer["state"] == "alive" for peer in agent.peers())


def until_known(agents, newcomer_of):
    """Seconds from the newcomer's own readiness until each of the others has heard from it."""
    begun = time.monotonic()
    newcomer = newcomer_of()
    ready = time.monotonic()
    who = newcomer.status()["id"]

    def wait(agent):
        while not knows(agent, who):
            if time.monotonic() - begun > 60:
                return None
            time.sleep(0.01)
        return time.monotonic()

    with ThreadPoolExecutor(8) as pool:
        times = list(pool.map(wait, agents))
    assert None not in times, "not all came to know the newcomer within a minute"
    return newcomer, [at - begun for at in times], ready - begun


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
        all_times, readies = [], []
        for n in range(NEWCOMERS):
            newcomer, times, ready = until_known(
                agents, lambda n=n: rig.agent(f"n{n}", [], **options))
            all_times += times
            readies.append(ready)
            newcomer.stop()
        all_times.sort()
        say(f"{title}: from its process's start median {median(all_times) * 1000:.0f} ms, "
            f"p99 {all_times[len(all_times) * 99 // 100] * 1000:.0f} ms, "
            f"slowest {all_times[-1] * 1000:.0f} ms, {len(all_times)} of {NEWCOMERS} newcomers "
            f"and {ROOM} agents; its mirror served after {median(readies) * 1000:.0f} ms   {target}")


def bench():
    room("index server", "rendezvous", "target p99 200 ms")
    room("LAN alone", "lan", "target one beacon interval, 5 s")
    room("DHT alone", "dht", "target 5 s")
