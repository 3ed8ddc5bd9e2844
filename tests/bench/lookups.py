"""How long it takes to find who holds a blob: in the catalog, at an index server, on a LAN, by DHT.

Agents run on this one machine, in namespaces. Their times are those that `who-has` answers: from
when the agent asks a peer index to its answer, on the agent's own loop.
"""

import json
import os
import time

from tests.functional.rig import faulty as fault
from tests.functional.rig.faulty import FaultyRegistry
from tests.functional.rig.image import make_image
from tests.functional.rig.process import run, wait_until
from tests.functional.rig.rig import Rig

from . import index
from .common import ROOT, say
from .peers import introduce

QUIET = {"agent": {"log_level": "info"}}
LAN_BLOBS = 200
DHT_AGENTS = int(os.environ.get("BENCH_DHT_AGENTS", "64"))
DHT_BLOBS = 32
ASKERS = 40  # of each blob, in the DHT


def told(times_us):
    times = sorted(times_us)

    def at(share):
        return times[min(len(times) - 1, int(share * len(times)))] / 1000
    return (f"p50 {at(0.5):.2f} ms, p90 {at(0.9):.2f} ms, p99 {at(0.99):.2f} ms, slowest {times[-1] / 1000:.2f} ms "
            f"of {len(times)}")


def asked(agent, digest, kind):
    """(how many holders the source named, microseconds, whether the catalog knew one)."""
    said = {one["kind"]: one
            for one in agent.get(f"/v1/who-has?what={digest}&resolve=1")["asked"]}
    return said[kind]["found"], said[kind]["took_us"], said["catalog"]["found"] > 0


def catalog(folder):
    binary = index.FOLDER / "lookups"
    release = ROOT / "build/release"
    run("g++", "-O2", "-std=c++20", "-I", ROOT, "-o", binary, ROOT / "tests/bench/lookups.cc",
        release / "index/libshoal_index_adapters.a", release / "index/libshoal_index.a",
        release / "base/libshoal_base.a", "-llmdb", "-lspdlog", "-lfmt", "-lcrypto", "-pthread",
        timeout=300)
    found = json.loads(run(binary, folder, timeout=500).stdout)
    say(f"local catalog, {found['entries']:,} entries, ten holders of each blob: "
        f"p50 {found['p50_us']} us, p99 {found['p99_us']} us of {found['lookups']:,}   "
        "target p50 20 us")


def index_server():
    with Rig() as rig:
        shoal = index.Shoal(rig)
        entries = shoal.load("register", 200, 500, 100)["entries"]
        found = shoal.load("discover", 200, 500, 20_000, connections=1)
        say(f"index server, {entries:,} entries, ten holders of each blob, one question at a time "
            f"on one TLS connection: p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms of "
            f"{found['requests']:,}   target p50 1 ms")


def lan():
    """Each blob is asked for as soon as its holder has it."""
    image = make_image("bench/many", layer_sizes=(16 << 10,) * LAN_BLOBS)
    with Rig() as rig:
        registry = rig.registry()
        registry.push(image)
        options = {**QUIET, "index": {"use": ["lan"]}, "lan": {"interval": "5s"}}
        agents = [rig.agent(name, [registry], **options) for name in "abc"]
        for agent in agents:
            agent.wait_peers(2)
        # Peers know each other as soon as they have dialled, neighbours by their beacons, and only
        # these ask and answer. Who has just sent one answers a newcomer's half a second later.
        time.sleep(1)
        holder, asker = agents[:2]
        times, in_vain, known = [], 0, 0
        for blob in image.layers:
            assert holder.get_blob(registry, image, blob).status == 200
            wait_until("it is held", lambda blob=blob: holder.has_blob(blob.digest))
            time.sleep(0.01)  # until its disk is written
            found, took, was_known = asked(asker, blob.digest, "lan")
            known += was_known
            if found:
                times.append(took)
            else:
                in_vain += 1
            time.sleep(0.05)  # an agent asks 50 times a second at most
        say(f"LAN of {len(agents)} agents, one holder: {told(times)}, {in_vain} in vain; the "
            f"asker's catalog knew {known} of the blobs   target 2 ms")


def complete(agents):
    for agent in agents:
        wait_until("the room is complete", lambda agent=agent: (
            agent.status()["peers"]["alive"] >= len(agents) - 1), 240, every=0.2)


def dht():
    """A blob is under its key in the DHT while somebody fetches it: slowly, here."""
    image = make_image("bench/slow", layer_sizes=(8 << 20,) * DHT_BLOBS)
    with Rig() as rig:
        names = [f"a{n}" for n in range(DHT_AGENTS)]
        hosts = [rig.host(name) for name in names]
        registry = FaultyRegistry(rig.host("reg"))
        rig.on_close(registry.close)
        registry.add(image)
        registry.faults.append(fault.slow(32 << 10))
        introduce([*hosts, registry.host])
        options = {**QUIET, "index": {"use": ["dht"], "sync_interval": "10s"},
                   "dht": {"bootstrap": [f"{hosts[0].address}:7384"]}}
        agents = [rig.agent(name, [registry], **options) for name in names]
        begun = time.monotonic()
        complete(agents)
        say(f"DHT of {DHT_AGENTS} agents: complete {time.monotonic() - begun:.0f} s after the last "
            "has started")
        opened = [agents[n % DHT_AGENTS].open_blob(registry, image, blob)
                  for n, blob in enumerate(image.layers[1:])]
        time.sleep(3)  # announcing is no part of it
        times, in_vain = [], 0
        for n, blob in enumerate(image.layers[1:]):
            holder = agents[n % DHT_AGENTS]
            others = [agent for agent in agents if agent is not holder]
            step = max(1, len(others) // ASKERS)
            for agent in others[n % step::step]:
                found, took, _ = asked(agent, blob.digest, "dht")
                times.append(took)
                in_vain += not found
        for connection, _ in opened:
            connection.close()
        say(f"  holders of {len(opened)} blobs that somebody is fetching: {told(times)}, "
            f"{in_vain} in vain (these count with the time they took)   target p99 100 ms")


def bench():
    parts = os.environ.get("BENCH_PARTS", "catalog,server,lan,dht").split(",")
    index.build_load()
    folder = index.FOLDER / "catalog"
    run("rm", "-rf", folder)
    folder.mkdir(mode=0o700)
    try:
        if "catalog" in parts:
            catalog(folder)
    finally:
        run("rm", "-rf", folder)
    if "server" in parts:
        index_server()
    if "lan" in parts:
        lan()
    if "dht" in parts:
        dht()
