"""From the GET of an absent blob to its first byte, and to a 404 when nobody has it."""

import time

from tests.functional.rig import web
from tests.functional.rig.image import make_image
from tests.functional.rig.rig import Rig

from .common import median, say

BLOBS = 60


def first_byte_ms(connection, path, status):
    """On a connection that is kept, as runtimes keep theirs."""
    started = time.perf_counter()
    connection.request("GET", path)
    response = connection.getresponse()
    response.read(1)
    took = (time.perf_counter() - started) * 1000
    response.read()
    assert response.status == status, (path, response.status)
    return took


def report(title, values, target):
    values = sorted(values)
    say(f"{title}: median {median(values):.2f} ms, p95 {values[len(values) * 95 // 100]:.2f} ms, "
        f"{len(values)} GETs   {target}")


def bench():
    image = make_image("bench/many", layer_sizes=(256 << 10,) * BLOBS)
    with Rig() as rig:
        registry = rig.registry()
        registry.push(image)
        quiet = {"agent": {"log_level": "info"}}
        holder = rig.agent("b", [registry], **quiet)
        agent = rig.agent("a", [registry], **quiet)
        holder.fill(registry, image)
        for blob in image.layers:
            agent.wait_holders(blob.digest, 1)
        connection = web.Connection(agent.host, 7380)
        paths = [f"/v2/{image.repository}/blobs/{blob.digest}?ns={registry.name}"
                 for blob in image.layers[1:]]
        cold = [first_byte_ms(connection, path, 200) for path in paths]
        warm = [first_byte_ms(connection, path, 200) for path in paths]
        absent = [first_byte_ms(
            connection, f"/v2/{image.repository}/blobs/sha256:{number:064x}?ns={registry.name}",
            404) for number in range(BLOBS)]
        counted = agent.bytes()
        assert counted["from_upstream"] < 1 << 20, counted
        connection.close()
    report("first byte, holder one hop away", cold, "target 3 ms")
    report("first byte, already here", warm, "")
    report("404, nobody has it and the upstream says so", absent, "")
