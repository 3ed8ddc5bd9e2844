"""Five index servers that federate, 20,000 peers at each, all in one room: what meeting costs them,
and a partition of two from three.

Bytes are those of the servers' network interfaces, headers and all. All answer for all when each
has read every other's log to its end; that they tell the same of every peer is looked at after that.
"""

import json
import os
import time

from tests.functional.rig import web
from tests.functional.rig.agent import BINARY, CONFIG
from tests.functional.rig.identity import Identity
from tests.functional.rig.process import wait_until
from tests.functional.rig.rig import Rig

from . import index
from .common import say

SERVERS = 5
PEERS = int(os.environ.get("BENCH_PEERS", "20000"))  # at each
CUT_SECONDS = int(os.environ.get("BENCH_CUT_SECONDS", "60"))
CHANGES = [int(n) for n in os.environ.get("BENCH_CHANGES", "0,100,1000,10000").split(",")]
SMALLER = 2  # servers of the one side
NAME = "room/open"


class Server:
    def __init__(self, rig, number, urls):
        self.number = number
        self.agent = rig.index_server(f"index{number}", agent={"log_level": "info"},
                                      rendezvous={"federate": urls})
        self.host = self.agent.host
        self.id = self.host.run(BINARY, "id", "--config", CONFIG).stdout.split()[0]
        self.identity = Identity(self.host.folder / "client")

    def register(self, peers):
        """The first `peers` of those that are at home here, with new records."""
        done = self.host.run(
            index.FOLDER / "index_load", "--cert", self.identity.certificate, "--key",
            self.identity.key, "--server", self.id, "--first", self.number * PEERS, "--namespace",
            NAME, "127.0.0.1", 7383, "register", peers, 1, 1, timeout=300)
        return json.loads(done.stdout)

    def read(self):
        """{server's id: how far its log has been read here}"""
        return {line["id"]: (line["epoch"], line["read"])
                for line in self.agent.get("/v1/servers")}

    def discovered(self):
        """{peer's key: its record} as agents are answered."""
        context = web.insecure_context(self.identity.certificate, self.identity.key)
        found, cookie = {}, ""
        while True:
            page = web.request(self.host, 7383, "GET", f"/v1/discover?namespace={NAME}&limit=1000" +
                               (f"&cookie={cookie}" if cookie else ""), context=context).json()
            for entry in page["records"]:
                found[entry["record"]["key"]] = hash(entry["record"]["payload"])
            if not page["records"]:
                return found
            cookie = page["cookie"]

    def cut_from(self, others):
        addresses = ", ".join(other.host.address for other in others)
        rules = self.host.folder / "cut"
        rules.write_text(
            "table ip cut {\n"
            " chain in { type filter hook input priority 0; ip saddr {%s} drop; }\n"
            " chain out { type filter hook output priority 0; ip daddr {%s} drop; }\n"
            "}\n" % (addresses, addresses))
        self.host.run("nft", "-f", rules)

    def heal(self):
        self.host.run("nft", "delete", "table", "ip", "cut")


def all_know_all(servers):
    reads = {server.id: server.read() for server in servers}
    return all(reads[reader].get(written) == reads[written][written]
               for reader in reads for written in reads)


def each_reaches_each(servers):
    return all(other["state"] == "works" for server in servers
               for other in server.agent.get("/v1/servers")[1:])


def until_all_know_all(servers, begun):
    wait_until("all know all", lambda: all_know_all(servers), 300, every=0.05)
    return time.monotonic() - begun


def sent(servers):
    return sum(server.host.sent_bytes() for server in servers)


def settled(servers, bytes_before):
    """What they have sent since, once what is on its way has come."""
    time.sleep(0.3)
    return sent(servers) - bytes_before


def check(servers):
    wait_until("all count all", lambda: {server.agent.status()["peers"] for server in servers} ==
               {SERVERS * PEERS}, 60)
    known = [server.discovered() for server in servers]
    assert len(known[0]) == SERVERS * PEERS, len(known[0])
    assert all(other == known[0] for other in known[1:]), "servers tell different things"


def told(seconds, got, change):
    ratio = f", {got / change:.2f} of that" if change else ""
    return (f"all know all after {seconds:.2f} s; {got / 1e6:.3f} MB on the wire, what somebody "
            f"lacked {change / 1e6:.3f} MB{ratio}")


def meet(servers):
    """Each knows its own peers; then the network is there."""
    for server in servers:
        server.host.link(up=False)
    results = [server.register(PEERS) for server in servers]
    record = results[0]["record_bytes"] + len(NAME)
    before, begun = sent(servers), time.monotonic()
    for server in servers:
        server.host.link(up=True)
    seconds = until_all_know_all(servers, begun)
    got = settled(servers, before)
    check(servers)
    say(f"{SERVERS} servers that know their own {PEERS:,} peers meet: "
        f"{told(seconds, got, record * PEERS * SERVERS * (SERVERS - 1))}")
    say("  resident memory of each: " + ", ".join(
        f"{index.resident(server.agent.process.pid) / 2**20:.0f} MiB" for server in servers))
    return record


def quiet(servers, seconds=10):
    before = sent(servers)
    time.sleep(seconds)
    say(f"  nothing happens: {(sent(servers) - before) / seconds / SERVERS:.0f} bytes a second and "
        "server")


def partition(servers, change, record):
    two, three = servers[:SMALLER], servers[SMALLER:]
    for server in two:
        server.cut_from(three)
    begun = time.monotonic()
    if change:
        for server in two:
            server.register(change // SMALLER)
    time.sleep(max(0, CUT_SECONDS - (time.monotonic() - begun)))
    if change:
        assert not all_know_all(servers), "nothing was cut"
        assert all_know_all(two), "the smaller side knows itself"
    before, healed = sent(servers), time.monotonic()
    for server in two:
        server.heal()
    # Looked at together: what is checked below takes longer than either.
    seconds = reached = None
    while seconds is None or reached is None:
        passed = time.monotonic() - healed
        assert passed < 300, "all know all and each reaches each"
        if reached is None and each_reaches_each(servers):
            reached = passed
        if seconds is None and all_know_all(servers):
            seconds, got = passed, settled(servers, before)
        time.sleep(0.05)
    check(servers)
    say(f"  {SMALLER} parted from {SERVERS - SMALLER} for {CUT_SECONDS} s, {change:,} peers "
        f"changed: {told(seconds, got, record * change * len(three))}; each reaches each within "
        f"{reached:.1f} s")


def bench():
    index.build_load()
    with Rig() as rig:
        urls = [f"https://{rig.host(f'index{n}').address}:7383" for n in range(SERVERS)]
        servers = [Server(rig, number, urls) for number in range(SERVERS)]
        for server in servers:
            wait_until("it knows all", lambda server=server: len(
                server.agent.get("/v1/servers")) == SERVERS, 60)
        wait_until("each reaches each", lambda: each_reaches_each(servers), 60)
        record = meet(servers)
        quiet(servers)
        for change in CHANGES:
            partition(servers, change, record)
