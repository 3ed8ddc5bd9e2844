"""A warm blob of 1 GiB served by the mirror and by the peer port, against nginx with sendfile."""

from tests.functional.rig.identity import Identity
from tests.functional.rig.rig import Rig

from .common import GIB, Nginx, Sink, cpu_seconds, median, random_blob, say, spread

PAIRS = 7
REPEAT = 2  # GETs of a measurement


def measure(get, pids):
    """(GiB/s, CPU seconds of the server for each GiB)."""
    before = cpu_seconds(pids())
    result = get()
    gib = result["bytes"] / GIB
    return gib / result["seconds"], (cpu_seconds(pids()) - before) / gib


def compare(title, ours, our_pids, theirs, their_pids, target):
    """Alternates between the two, and prints medians and the median of the ratios of pairs."""
    measure(ours, our_pids)
    measure(theirs, their_pids)
    pairs = [(measure(ours, our_pids), measure(theirs, their_pids)) for _ in range(PAIRS)]
    ratios = [mine[0] / other[0] for mine, other in pairs]
    say(f"{title}, {PAIRS} pairs")
    for name, at in (("shoal", 0), ("nginx", 1)):
        say(f"  {name}  {median([pair[at][0] for pair in pairs]):5.2f} GiB/s   "
            f"{median([pair[at][1] for pair in pairs]):.3f} CPU s/GiB")
    say(f"  ratio  {spread(ratios)}   target at least {target}")


def bench():
    sink = Sink()
    blob = random_blob(GIB)
    with Rig() as rig:
        registry = rig.registry()
        registry.push_blob("bench/blob", blob)
        agent = rig.agent("a", [registry], agent={"log_level": "info"})
        host = agent.host
        path = f"/v2/bench/blob/blobs/{blob.digest}?ns={registry.name}"
        sink.get(host, 7380, path)  # from the upstream: now it is warm
        registry.stop()
        nginx = Nginx(host, blob)
        identity = Identity(host.folder / "identity")
        shoal_pids = lambda: [agent.process.pid]  # noqa: E731
        for connections in (1, 4):
            compare(f"plain, 1 GiB x {REPEAT} on {connections} connections",
                    lambda: sink.get(host, 7380, path, connections=connections, repeat=REPEAT),
                    shoal_pids,
                    lambda: sink.get(host, 8080, "/blob", connections=connections, repeat=REPEAT),
                    nginx.pids, 0.95)
        whole = [f"Range: bytes=0-{blob.size - 1}"]
        pieces = [f"Range: bytes=0-{(4 << 20) - 1}"]
        for title, headers, repeat in (("whole blob", whole, 1), ("4 MiB ranges", pieces, 256)):
            for connections in (1, 4):
                options = {"identity": identity, "headers": headers, "connections": connections,
                           "repeat": repeat}
                compare(f"TLS 1.3 AES-128-GCM, {title}, {connections} connections",
                        lambda: sink.get(host, 7381, f"/p2p/v1/blobs/{blob.digest}", **options),
                        shoal_pids,
                        lambda: sink.get(host, 8443, "/blob", **options), nginx.pids, 0.9)
