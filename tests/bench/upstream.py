"""A cold blob from a registry that gives each connection 10 MB/s, beside one stream from it."""

import time

from tests.functional.rig.faulty import FaultyRegistry, slow
from tests.functional.rig.image import make_image
from tests.functional.rig.rig import Rig
from tests.functional.rig.web import request

from .common import say

SIZE = 200 << 20
EACH = 10_000_000


def bench():
    image = make_image("bench/upstream", layer_sizes=(SIZE,))
    blob = image.layers[-1]
    with Rig() as rig:
        registry = FaultyRegistry(rig.host("upstream"))
        registry.add(image)
        registry.faults = [slow(EACH)]
        agent = rig.agent("a", [registry], agent={"log_level": "info"})
        path = f"/v2/{image.repository}/blobs/{blob.digest}"
        started = time.monotonic()
        alone = request(agent.host, registry.port, "GET", path, address=registry.host.address,
                        timeout=300)
        one = time.monotonic() - started
        assert alone.body == blob.data
        before = registry.sent
        answer = agent.get_blob(registry, image, blob, timeout=300)
        assert answer.body == blob.data
        ranges = len(registry.asked(blob.digest, "GET")) - 1
        say(f"{SIZE >> 20} MiB, {EACH / 1e6:.0f} MB/s a connection: one stream {one:.1f} s, agent "
            f"{answer.seconds:.1f} s, ratio {answer.seconds / one:.2f}; {ranges} requests, "
            f"{(registry.sent - before) / SIZE:.3f} blobs sent")
        registry.close()
