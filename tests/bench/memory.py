"""Memory of an idle agent, and of one that relays 16 blobs of 1 GiB at once."""

import concurrent.futures
import hashlib
import os
import time

from tests.functional.rig.agent import upstream
from tests.functional.rig.faulty import FaultyRegistry
from tests.functional.rig.rig import Rig

from .common import GIB, Sink, say

BLOBS = 16
IDLE_SECONDS = 20


class PatternRegistry(FaultyRegistry):
    """Serves BLOBS blobs of 1 GiB that differ in their first bytes only: one lies in memory."""

    def __init__(self, host, name):
        self.base = memoryview(os.urandom(1 << 20) * 1024)
        self.heads = {}
        for number in range(BLOBS):
            head = number.to_bytes(64, "big")
            digest = hashlib.sha256(head)
            digest.update(self.base[64:])
            self.heads["sha256:" + digest.hexdigest()] = head
        super().__init__(host, name)

    def serve(self, handler):
        digest = handler.path.split("?")[0].rsplit("/", 1)[1]
        if digest not in self.heads:
            return super().serve(handler)
        first, last = 0, GIB - 1
        if handler.headers.get("Range"):
            begin, end = handler.headers["Range"].removeprefix("bytes=").split("-")
            first, last = int(begin), int(end or last)
        handler.send_response(206 if handler.headers.get("Range") else 200)
        handler.send_header("Content-Range", f"bytes {first}-{last}/{GIB}")
        handler.send_header("Content-Length", str(last + 1 - first))
        handler.send_header("Content-Type", "application/octet-stream")
        handler.end_headers()
        if handler.command == "HEAD":
            return None
        if first < 64:
            handler.wfile.write(self.heads[digest][first:last + 1])
            first = 64
        for at in range(first, last + 1, 1 << 20):
            handler.wfile.write(self.base[at:min(at + (1 << 20), last + 1)])
        return None


def mib(count):
    return f"{count / 2**20:.1f} MiB"


def idle():
    with Rig() as rig:
        rig.index_server("index")
        rig.containerd("a")
        peers = [rig.agent("b")]
        agent = rig.agent("a", index={
            "use": ["lan", "rendezvous", "dht", "static"],
            "rendezvous": [f"https://{rig.host('index').address}:7383"],
            "static": [f"{peers[0].host.address}:7381"]}, agent={"log_level": "info"})
        agent.wait_peers(1)
        time.sleep(IDLE_SECONDS)
        say(f"idle for {IDLE_SECONDS} s, all adapters on: "
            f"{mib(agent.process.memory_bytes())} resident   target 40 MiB")


def relaying():
    sink = Sink()
    with Rig() as rig:
        registry = PatternRegistry(rig.host("upstream"), "big.test")
        rig.on_close(registry.close)
        agent = rig.agent("a", [upstream(registry)], agent={"log_level": "info"},
                          store={"max": "40GiB"})
        started = time.monotonic()

        def get(digest):
            return sink.get(agent.host, 7380,
                            f"/v2/bench/big/blobs/{digest}?ns={registry.name}")["bytes"]

        with concurrent.futures.ThreadPoolExecutor(BLOBS) as pool:
            came = list(pool.map(get, registry.heads))  # raises what one of them raised
        assert came == [GIB] * BLOBS, came
        seconds = time.monotonic() - started
        # Page cache of mapped files counts as resident too; anonymous memory is what is ours.
        anonymous = agent.process.memory_bytes("RssAnon")
        say(f"relaying {BLOBS} blobs of 1 GiB at once from one upstream, {seconds:.0f} s: "
            f"highest {mib(agent.process.memory_bytes('VmHWM'))} resident "
            f"(now {mib(agent.process.memory_bytes())}, of it anonymous {mib(anonymous)})   "
            "target 96 MiB")


def bench():
    idle()
    relaying()
