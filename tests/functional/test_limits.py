"""Limits of rates: over any five seconds at most 5 % more than they say, at the link itself."""

import threading

from rig.image import make_image
from rig.meter import Meter

RATE = 4_000_000  # bytes a second
WINDOW = 5.0
BLOB = 12 << 20


def get_all(gets):
    """Runs GETs of blobs at once: (agent, registry, image, blob)."""
    results = []

    def get(agent, registry, image, blob):
        answer = agent.get_blob(registry, image, blob, timeout=120)
        results.append(answer.status == 200 and answer.body == blob.data)

    threads = [threading.Thread(target=get, args=arguments) for arguments in gets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(results) == len(gets) and all(results)


def settle(image, fetchers, holders=1):
    for agent in fetchers:
        for blob in image.blobs:
            agent.wait_holders(blob.digest, holders)


def test_what_peers_get_stays_below_the_upload_rate(rig):
    image = make_image("team/up", layer_sizes=(BLOB, BLOB))
    registry = rig.registry()
    registry.push(image)
    holder = rig.agent("a", [registry], limits={"upload_rate": "4MB/s"})
    holder.fill(registry, image)
    fetchers = [rig.agent(name, [registry]) for name in "bc"]
    settle(image, fetchers)
    registry.stop()
    # Each gets the layer that the other does not: all of it has to come from the holder.
    with Meter(holder.host) as meter:
        assert get_all([(agent, registry, image, blob)
                        for agent, blob in zip(fetchers, image.layers[1:])])
    assert meter.total("sent") > 2 * BLOB
    assert meter.fastest("sent", WINDOW) <= 1.05 * RATE
    # The limit is on peers: a runtime of the host gets its blobs as fast as ever.
    assert holder.status()["bytes"]["to_peers"] >= 2 * BLOB


def test_what_peers_and_upstreams_send_stays_below_the_download_rate(rig, faulty):
    image, other = (make_image(f"team/{name}", layer_sizes=(BLOB,)) for name in ("down", "cold"))
    registry = rig.registry()
    registry.push(image)
    upstream = faulty()
    upstream.add(other)
    holder = rig.agent("a", [registry])
    holder.fill(registry, image)
    agent = rig.agent("b", [registry, upstream], limits={"download_rate": "4MB/s"})
    settle(image, [agent])
    registry.stop()
    with Meter(agent.host) as meter:
        assert get_all([(agent, registry, image, image.layers[-1]),
                        (agent, upstream, other, other.layers[-1])])
    counted = agent.bytes()
    assert counted["from_peers"] >= BLOB and counted["from_upstream"] >= BLOB
    assert meter.fastest("received", WINDOW) <= 1.05 * RATE
