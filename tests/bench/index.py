"""An index server under 10,000 agents of 500 blobs each, and etcd beside it.

Server and load share the machine. Requests are signed before the clock starts; what is answered is
checked. etcd has a lease for each agent, a key for each of its blobs with a record as the value,
and a range of keys for the holders of a blob; it speaks without TLS and without signatures.
"""

import json
import os
import pathlib
import time

from tests.functional.rig.agent import BINARY, CONFIG
from tests.functional.rig.identity import Identity
from tests.functional.rig.process import run, wait_until
from tests.functional.rig.rig import Rig

from .common import ROOT, median, say

PEERS, BLOBS = 10_000, 500
FEW = 200        # peers of the runs with one name a request, and of etcd's
DISCOVERIES = 200_000
RUNS = 3
FOLDER = ROOT / "build/bench"


def build_load():
    FOLDER.mkdir(parents=True, exist_ok=True)
    release, here = ROOT / "build/release", ROOT / "tests/bench"
    run("g++", "-O2", "-std=c++20", "-I", ROOT, "-o", FOLDER / "index_load",
        here / "index_load.cc", release / "index/libshoal_index.a",
        release / "base/libshoal_base.a", "-lssl", "-lcrypto", "-lcpprest", "-pthread", timeout=300)


def build():
    """The two programs that make the load."""
    build_load()
    here = ROOT / "tests/bench"
    plugin = run("which", "grpc_cpp_plugin").stdout.strip()
    run("protoc", "-I", here, f"--cpp_out={FOLDER}", f"--grpc_out={FOLDER}",
        f"--plugin=protoc-gen-grpc={plugin}", here / "etcd.proto")
    libraries = run("pkg-config", "--libs", "grpc++", "protobuf").stdout.split()
    run("g++", "-O2", "-std=c++20", "-I", FOLDER, "-o", FOLDER / "etcd_load", here / "etcd_load.cc",
        FOLDER / "etcd.pb.cc", FOLDER / "etcd.grpc.pb.cc", *libraries, timeout=300)


def resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


class Shoal:
    """The index server on a host, and the load on the same host."""

    def __init__(self, rig):
        self.server = rig.index_server("index", agent={"log_level": "info"})
        self.host = self.server.host
        self.identity = Identity(self.host.folder / "client")
        self.id = self.host.run(BINARY, "id", "--config", CONFIG).stdout.split()[0]

    def load(self, *words, connections=8, depth=1, first=0, own_keys=False):
        """own_keys: each agent on its own connection, as agents are."""
        shown = [] if own_keys else ["--cert", self.identity.certificate,
                                     "--key", self.identity.key]
        done = self.host.run(FOLDER / "index_load", *shown, "--server", self.id, "--connections",
                             connections, "--depth", depth, "--first", first, "127.0.0.1", 7383,
                             *words, timeout=580)
        return json.loads(done.stdout)

    def pid(self):
        return self.server.process.pid


class Etcd:
    def __init__(self, host):
        self.host = host
        # Room for all; otherwise as Debian ships it.
        self.process = host.start("etcd", "--data-dir", host.folder / "etcd",
                                  "--quota-backend-bytes", 8 << 30, log="etcd.log")
        wait_until("etcd answers", self._answers)

    def _answers(self):
        self.process.require_running()
        try:
            self.host.connect(2379).close()
            return True
        except OSError:
            return False

    def load(self, *words, flight=64):
        done = self.host.run(FOLDER / "etcd_load", "127.0.0.1:2379", *words, flight, timeout=580)
        return json.loads(done.stdout)


def rate(result):
    return result["entries"] / result["seconds"]


def show(name, results, unit):
    say(f"  {name}  {median([rate(one) for one in results]):9,.0f} {unit}/s   "
        f"p50 {median([one['p50_ms'] for one in results]):.2f} ms   "
        f"p99 {median([one['p99_ms'] for one in results]):.2f} ms")


def beside(title, ours, theirs, unit, goal):
    """Alternates between the two."""
    pairs = [(ours(number), theirs(number)) for number in range(RUNS)]
    say(f"{title}, {RUNS} pairs")
    show("shoal", [mine for mine, _ in pairs], unit)
    show("etcd ", [other for _, other in pairs], unit)
    ratios = [rate(mine) / rate(other) for mine, other in pairs]
    say(f"  ratio  {median(ratios):.2f} [{min(ratios):.2f} .. {max(ratios):.2f}]   goal {goal}")


def full(shoal):
    """All agents register all their blobs; then memory, and a restart."""
    before = resident(shoal.pid())
    result = shoal.load("register", PEERS, BLOBS, 100)
    say(f"{PEERS:,} agents register {BLOBS} blobs each, 100 a request")
    show("shoal", [result], "registrations")
    grown = resident(shoal.pid()) - before
    say(f"  memory  {grown / result['entries']:.0f} bytes an entry   goal 200")
    found = [shoal.load("discover", PEERS, BLOBS, DISCOVERIES, depth=4) for _ in range(RUNS)]
    say(f"{DISCOVERIES:,} discoveries of ten holders each among {result['entries']:,} entries")
    show("shoal", found, "discoveries")
    shoal.server.stop()
    started = time.monotonic()
    shoal.server.start()
    say(f"restart to serving with {result['entries']:,} entries: "
        f"{time.monotonic() - started:.2f} s   goal 2 s")
    shoal.load("discover", PEERS, BLOBS, 1000)  # it answers from what it loaded


def bench():
    build()
    os.sync()
    with Rig() as rig:
        shoal = Shoal(rig)
        etcd = Etcd(rig.host("etcd"))
        for names in (1, 100):
            def register(number, names=names):
                return shoal.load("register", FEW, BLOBS, names, connections=64,
                                  first=(names + number) * FEW, own_keys=True)
            beside(f"{FEW} agents register {BLOBS} blobs, {names} a request", register,
                   lambda _, names=names: etcd.load("put", FEW, BLOBS, names),
                   "registrations", "15,000 a second, and ahead")
        beside("holders of a blob, ten of each",
               lambda _: shoal.load("discover", FEW, BLOBS, 50_000, depth=4),
               lambda _: etcd.load("range", FEW, BLOBS, 50_000),
               "discoveries", "30,000 a second, and ahead")
    with Rig() as rig:
        full(Shoal(rig))
