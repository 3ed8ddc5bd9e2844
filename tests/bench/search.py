"""Search over a million image names: the core alone, then `shoal search` from its start to its end.

The agent learns the names from a peer, as it always does: page by page of ServeKeys.
"""

import json
import random
import subprocess
import time

from tests.functional.rig.agent import BINARY
from tests.functional.rig.liar import Liar
from tests.functional.rig.process import run, wait_until
from tests.functional.rig.rig import Rig

from .common import ROOT, median, say

IMAGES = 1_000_000
PAGE = 2000
RUNS = 200


def build():
    binary = ROOT / "build/bench/search"
    binary.parent.mkdir(parents=True, exist_ok=True)
    release = ROOT / "build/release"
    run("g++", "-O2", "-std=c++20", "-I", ROOT, "-o", binary,
        ROOT / "tests/bench/search.cc", release / "index/libshoal_index.a",
        release / "base/libshoal_base.a")
    return binary


def core():
    found = json.loads(run(build(), IMAGES, timeout=580).stdout)
    say(f"core, {found['images']:,} names of {found['name_bytes']} bytes: p50 {found['p50_ms']} ms, "
        f"p90 {found['p90_ms']} ms, p99 {found['p99_ms']} ms, slowest {found['max_ms']} ms of "
        f"{found['queries']:,} queries   target p99 10 ms")
    say(f"memory: {found['bytes_a_name']} bytes a name, {found['terms']:,} words; "
        f"adding one: {found['add_us']} us")
    for kind in found["kinds"]:
        say(f"  p50 {kind['p50_ms']:7.3f} ms, p99 {kind['p99_ms']:7.3f} ms, like {kind['query']}")


def words():
    generator = random.Random(1)
    return ["".join(generator.choices(["ka", "lo", "ser", "vice", "data", "api", "web"], k=3))
            for _ in range(3000)]


def name(number, some):
    return (f"registry-{number % 12}.example.com:5000/team-{number % 397}/"
            f"{some[number % 3000]}-{some[number * 7 % 2999]}:v{number % 9}.{number % 50}.{number}")


def serve(liar, some):
    """A million images, in pages."""
    def serve_keys(handler, query):
        after = int(query.get("after", 0)) if query.get("epoch") == "7" else 0
        end = min(after + PAGE, IMAGES)
        keys = [{"image": name(n, some), "manifest": f"sha256:{n:064x}", "size": 1000 + n,
                 "platforms": "linux/amd64"} for n in range(after, end)]
        handler.answer(200, {"epoch": 7, "cursor": end, "reset": after == 0, "more": end < IMAGES,
                             "keys": keys})
    liar.serve_keys = serve_keys


def spread(values):
    values = sorted(values)
    return (f"median {median(values):.1f} ms, p99 {values[len(values) * 99 // 100]:.1f} ms, "
            f"slowest {values[-1]:.1f} ms of {len(values)}")


def end_to_end():
    some = words()
    with Rig() as rig:
        liar = Liar(rig.host("peer"), [])
        serve(liar, some)
        begun = time.monotonic()
        agent = rig.agent("a", agent={"log_level": "info"},
                          index={"use": ["static"], "static": [liar.endpoint]})
        wait_until("the agent knows all names",
                   lambda: agent.metrics()["shoal_search_images"] == IMAGES, 500, every=0.5)
        say(f"{IMAGES:,} names learnt from a peer in {time.monotonic() - begun:.0f} s")
        generator = random.Random(2)
        queries = []
        for _ in range(RUNS):
            whole = name(generator.randrange(IMAGES), some)
            last = whole.split("/")[-1]
            queries.append(generator.choice([
                whole, last.split(":")[0], last.split("-")[0], whole.rsplit("/", 1)[0] + "/*:v2*",
                f"{last.split('-')[0]} v3", f"*{last[2:9]}*", f"tag:v1.* {last.split('-')[0]}"]))
        command = agent.host.command(BINARY, "search", "--json")
        took = []
        for query in queries:
            began = time.perf_counter()
            done = subprocess.run([*map(str, command), query], capture_output=True, check=True)
            took.append((time.perf_counter() - began) * 1000)
            assert json.loads(done.stdout)["whole"], query
        say(f"shoal search, from start to end: {spread(took)}   target 50 ms")
        resident = next(int(line.split()[1]) for line in
                        open(f"/proc/{agent.process.popen.pid}/status", encoding="ascii")
                        if line.startswith("VmRSS"))
        say(f"the agent's resident memory: {resident / 1024:.0f} MiB (the catalog's pages too)")


def bench():
    core()
    end_to_end()
