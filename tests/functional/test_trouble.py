"""Things die, disks fill, bits flip: a pull goes on all the same."""

import datetime
import signal
import threading
import time

import pytest

from rig.agent import DATA
from rig.image import make_image
from rig.liar import piece_of
from rig.process import run, wait_until

BLOB = 48 << 20  # 4 s at 100 Mbit/s
PIECE = piece_of(BLOB)


def have_pieces(agent, blob):
    """How many pieces of the blob the agent has by now."""
    return (agent.blob(blob.digest) or {}).get("have", 0)


def setting(rig, holders=("a",), containerd=False, **sections):
    """A registry that is off, holders of an image with one large layer, and an agent that lacks it.

    Everybody's link is 100 Mbit/s.
    """
    image = make_image("team/big", layer_sizes=(BLOB,))
    registry = rig.registry()
    registry.push(image)
    agents = [rig.agent(name, [registry]) for name in holders]
    for agent in agents:
        agent.fill(registry, image)
    if containerd:
        rig.containerd("c").use_mirror(registry.name)
    c = rig.agent("c", [registry], **sections)
    for blob in image.blobs:
        c.wait_holders(blob.digest, len(agents))
    registry.stop()
    for agent in [*agents, c]:
        agent.host.shape("100mbit")
    return registry, image, agents, c


class Get(threading.Thread):
    """A GET of a blob in the background."""

    def __init__(self, agent, registry, image, blob):
        super().__init__(daemon=True)
        self.connection, self.response = None, None
        self._arguments = agent, registry, image, blob
        self.data, self.error = b"", None
        self.start()

    def run(self):
        agent, *rest = self._arguments
        try:
            self.connection, self.response = agent.open_blob(*rest)
            while chunk := self.response.read(1 << 16):
                self.data += chunk
        except Exception as error:  # what a cut connection raises is the test's business
            self.error = error

    def wait(self, timeout=60):
        self.join(timeout)
        assert not self.is_alive(), f"the GET hangs after {len(self.data)} bytes"
        return self.data


def test_kill_9_of_a_serving_peer_mid_pull(rig):
    registry, image, (a, b), c = setting(rig, holders=("a", "b"))
    layer = image.layers[1]
    get = Get(c, registry, image, layer)
    wait_until("a third is there", lambda: have_pieces(c, layer) > BLOB // PIECE // 3)
    assert a.bytes()["to_peers"] > 0
    a.kill()
    assert get.wait() == layer.data
    assert get.error is None


def test_containerd_pulls_on_when_a_serving_peer_is_killed(rig):
    registry, image, (a, b), c = setting(rig, holders=("a", "b"), containerd=True)
    containerd = rig.containerds["c"]
    pull = containerd.start_pull(registry.reference(image))
    wait_until("a third is there",
               lambda: have_pieces(c, image.layers[1]) > BLOB // PIECE // 3)
    assert a.bytes()["to_peers"] > 0
    a.kill()
    assert pull.popen.wait(60) == 0, pull.text()
    assert containerd.is_complete(registry.reference(image))
    assert b.bytes()["to_peers"] > 0


def test_a_serving_peer_whose_link_goes_down_mid_pull(rig):
    registry, image, (a, b), c = setting(rig, holders=("a", "b"))
    layer = image.layers[1]
    get = Get(c, registry, image, layer)
    wait_until("a third is there", lambda: have_pieces(c, layer) > BLOB // PIECE // 3)
    a.host.link(up=False)
    assert get.wait() == layer.data
    assert get.error is None


def test_kill_9_of_the_only_holder_mid_pull_falls_back_to_the_upstream(rig):
    registry, image, (a,), c = setting(rig)
    layer = image.layers[1]
    get = Get(c, registry, image, layer)
    wait_until("a third is there", lambda: have_pieces(c, layer) > BLOB // PIECE // 3)
    registry.start()
    mark = registry.log_size()
    a.kill()
    assert get.wait() == layer.data
    assert registry.blob_bytes(mark) < layer.size, "what was here already was not fetched again"


def test_kill_9_of_the_pulling_agent_then_no_piece_is_fetched_twice(rig):
    registry, image, (a,), c = setting(rig)
    layer = image.layers[1]
    get = Get(c, registry, image, layer)
    wait_until("a third is there", lambda: have_pieces(c, layer) > BLOB // PIECE // 3)
    had = have_pieces(c, layer)
    c.kill()
    get.wait()
    assert len(get.data) < layer.size

    c.start()
    c.wait_holders(layer.digest, 1)
    whole = c.get_blob(registry, image, layer, timeout=60)
    assert whole.status == 200
    assert whole.body == layer.data
    fetch = c.transfers(layer.digest)[0]
    assert fetch["resumed"] >= (had - 1) * PIECE, "verified pieces were lost"
    assert fetch["resumed"] + fetch["from_peers"] == layer.size, "pieces came twice"
    assert fetch["wasted"] == 0
    # Of what the holder sent in all, only what was in flight at the kill came twice.
    assert a.bytes()["to_peers"] < image.size + 24 * PIECE


def test_containerd_goes_on_when_the_pulling_agent_is_killed_and_started_again(rig):
    registry, image, _, c = setting(rig, containerd=True)
    containerd = rig.containerds["c"]
    containerd.use_mirror(registry.name, server=registry.url)
    registry.start()  # containerd itself goes there when the mirror dies
    pull = containerd.start_pull(registry.reference(image))
    wait_until("a third is there",
               lambda: have_pieces(c, image.layers[1]) > BLOB // PIECE // 3)
    c.kill()
    c.start()
    assert pull.popen.wait(90) == 0, pull.text()
    assert containerd.is_complete(registry.reference(image))


def test_containerd_restarted_mid_pull(rig):
    registry, image, _, c = setting(rig, containerd=True)
    containerd = rig.containerds["c"]
    pull = containerd.start_pull(registry.reference(image))
    wait_until("a third is there",
               lambda: have_pieces(c, image.layers[1]) > BLOB // PIECE // 3)
    containerd.process.kill()
    pull.popen.wait(30)
    containerd.start()
    containerd.pull(registry.reference(image))
    assert containerd.is_complete(registry.reference(image))
    c.process.require_running()
    # and the agent hears of it again
    wait_until("what containerd holds is known", lambda: c.has_blob(image.layers[1].digest))


def flip_a_bit(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


def test_a_flipped_bit_on_the_disk_of_a_holder(rig):
    registry, image, (a, b), c = setting(rig, holders=("a", "b"))
    layer = image.layers[1]
    stored = a.host.path(f"{DATA}")
    files = [path for path in stored.rglob(layer.digest.split(":")[1]) if path.is_file()]
    assert files, "the holder keeps its blob under its digest"
    flip_a_bit(files[0], BLOB // 2)
    answer = c.get_blob(registry, image, layer, timeout=60)
    assert answer.status == 200
    assert answer.body == layer.data
    assert b.bytes()["to_peers"] > 0


def test_containerd_never_sees_a_flipped_bit(rig):
    registry, image, (a, b), c = setting(rig, holders=("a", "b"), containerd=True)
    layer = image.layers[1]
    stored = a.host.path(DATA)
    flip_a_bit(next(path for path in stored.rglob(layer.digest.split(":")[1]) if path.is_file()),
               BLOB // 2)
    containerd = rig.containerds["c"]
    containerd.pull(registry.reference(image))  # it verifies what it takes in
    assert containerd.is_complete(registry.reference(image))
    assert containerd.content_path(layer.digest).read_bytes() == layer.data
    assert b.bytes()["to_peers"] > 0


def test_a_flipped_bit_in_the_only_holder_ends_at_the_upstream(rig):
    registry, image, (a,), c = setting(rig)
    layer = image.layers[1]
    stored = a.host.path(DATA)
    flip_a_bit(next(path for path in stored.rglob(layer.digest.split(":")[1]) if path.is_file()),
               BLOB // 2)
    registry.start()
    answer = c.get_blob(registry, image, layer, timeout=60)
    assert answer.status == 200
    assert answer.body == layer.data


def test_the_disk_is_full_in_the_middle_of_a_blob(rig):
    image = make_image("team/big", layer_sizes=(BLOB, 1 << 20))
    registry = rig.registry()
    registry.push(image)
    host = rig.host("c")
    host.run("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", DATA)
    c = rig.agent("c", [registry])
    big, small = image.layers[1:]
    connection, response = c.open_blob(registry, image, big)
    # Either an error before the first byte, or bytes that end early with a FIN; never wrong bytes,
    # never a whole body that is not proved.
    if response.status == 200:
        received = b""
        try:
            received = response.read()
        except Exception as cut:
            received = getattr(cut, "partial", b"")
        assert big.data.startswith(received)
    else:
        assert response.status in (404, 500, 503)
    connection.close()
    c.process.require_running()
    assert c.admin("GET", "/healthz").status == 200
    # and what fits still works
    answer = c.get_blob(registry, image, small)
    assert answer.status == 200
    assert answer.body == small.data


def test_the_store_stays_within_its_bound(rig):
    image = make_image("team/many", layer_sizes=[4 << 20] * 8)
    registry = rig.registry()
    registry.push(image)
    c = rig.agent("c", [registry], store={"max": "16MiB"})
    c.fill(registry, image)
    store = c.status()["store"]
    assert store["bytes"] <= store["max_bytes"] == 16 << 20
    assert c.get_blob(registry, image, image.layers[1]).body == image.layers[1].data


def test_peers_that_vanish_lose_their_entries(rig):
    registry, image, (a,), c = setting(rig)
    a.kill()
    wait_until("the peer is forgotten",
               lambda: not (c.blob(image.layers[1].digest) or {}).get("holders"), timeout=90,
               every=0.5)


def test_sigterm_is_clean_and_keeps_state(rig):
    registry, image, (a,), c = setting(rig)
    layer = image.layers[1]
    get = Get(c, registry, image, layer)
    wait_until("a third is there", lambda: have_pieces(c, layer) > BLOB // PIECE // 3)
    a.process.signal(signal.SIGTERM)
    assert a.process.popen.wait(11) == 0
    identity = c.status()["id"]
    assert c.stop() == 0
    get.wait()
    c.start()
    assert c.status()["id"] == identity
    left = c.blob(layer.digest)
    assert left["state"] == "partial"
    assert BLOB // PIECE // 3 < left["have"] < left["pieces"] == -(-layer.size // PIECE)
    a.start()
    assert a.has_blob(layer.digest)
    c.wait_holders(layer.digest, 1)
    assert c.get_blob(registry, image, layer, timeout=60).body == layer.data
    assert c.transfers(layer.digest)[0]["resumed"] > 0


def test_sigterm_lets_a_running_answer_finish(rig):
    registry, image, (a,), _ = setting(rig)
    rig.host("a").shape(None)
    layer = image.layers[1]
    connection, response = a.open_blob(registry, image, layer)
    received = response.read(1 << 20)
    a.process.signal(signal.SIGTERM)
    received += response.read()
    assert received == layer.data
    assert a.process.popen.wait(11) == 0


def test_the_identity_is_made_once_and_private(rig):
    a = rig.agent("a")
    keys = [path for path in a.host.path(DATA).rglob("identity*") if path.is_file()]
    assert keys, "the identity's key is a file in the data directory"
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys)
    before = [path.read_bytes() for path in keys]
    said = a.verb("id").stdout.split()
    a.kill()
    a.start()
    assert [path.read_bytes() for path in keys] == before
    assert a.verb("id").stdout.split() == said
    assert a.status()["id"] in said
    assert run("stat", "-c", "%a", keys[0]).stdout.strip() == "600"


@pytest.mark.parametrize("index", ["lan", "rendezvous"])
def test_hosts_whose_clocks_are_ten_minutes_off(rig, index):
    image = make_image("team/app", layer_sizes=(8 << 20,))
    registry = rig.registry()
    registry.push(image)
    options = {"use": [index]}
    if index == "rendezvous":
        rig.index_server("index")
        options["rendezvous"] = [f"https://{rig.host('index').address}:7383"]
    agents = [rig.agent(name, [registry], start=False, index=options) for name in "abc"]
    for agent, clock in zip(agents, (0, 600, -600)):
        agent.clock = clock
        agent.start()
        said = datetime.datetime.fromisoformat(agent.log().split()[0])
        assert abs(said.timestamp() - time.time() - clock) < 60, "its clock is not off"
    right, ahead, behind = agents
    right.wait_peers(2)
    ahead.wait_peers(1)
    behind.wait_peers(1)
    ahead.fill(registry, image)
    for agent in (right, behind):
        agent.wait_holders(image.layers[-1].digest, 1)
        agent.fill(registry, image)
        assert agent.bytes()["from_upstream"] == 0
