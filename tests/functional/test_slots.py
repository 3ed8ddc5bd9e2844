"""A bound on the connections by which all hosts together read blobs from one registry."""

import http.client
import threading

import pytest

from rig.agent import upstream
from rig.faulty import slow
from rig.image import make_image
from rig.process import wait_until

PORT = 5000

HOSTS = "abcdef"


class Gauge:
    """The most connections that a registry had at once, looked at all the time.

    The kernel's table is not read in one moment: only what two looks saw was there between them.
    """

    def __init__(self, registry):
        self.registry = registry
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def _look(self):
        before = set()
        while not self._over.wait(0.002):
            now = self.registry.host.connections(PORT)
            self.most = max(self.most, len(before & now))
            before = now

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def cluster(rig, bound, server, images, rate="200mbit", names=HOSTS):
    registry = rig.registry()
    for image in images:
        registry.push(image)
    sections = {}
    if server:
        rig.index_server("index")
        sections["index"] = {"use": ["lan", "rendezvous"],
                             "rendezvous": [f"https://{rig.host('index').address}:7383"]}
    agents = [rig.agent(name, [upstream(registry, connections=bound)], **sections)
              for name in names]
    for agent in agents:
        agent.wait_peers(len(agents) - 1)
    registry.host.shape(rate)
    wait_until("the registry is left alone", lambda: not registry.host.connections(PORT))
    return registry, agents


class Gets:
    """GETs of blobs that run at once: (agent, image, blob)."""

    def __init__(self, registry, gets):
        self.answers = {}
        self.threads = [threading.Thread(target=self._get, args=(registry, *get)) for get in gets]
        for thread in self.threads:
            thread.start()

    def _get(self, registry, agent, image, blob):
        key = agent.host.name, blob.digest
        try:
            answer = agent.get_blob(registry, image, blob, timeout=120)
            self.answers[key] = answer.status == 200 and answer.body == blob.data
        except (OSError, http.client.HTTPException):  # as when the agent is killed
            self.answers[key] = False

    def join(self):
        for thread in self.threads:
            thread.join()
        return self.answers


@pytest.mark.parametrize("server", [True, False], ids=["index server", "lan only"])
def test_all_hosts_together_keep_to_the_bound(rig, server):
    images = [make_image(f"team/{name}", layer_sizes=(3 << 20, 1 << 20)) for name in HOSTS]
    registry, agents = cluster(rig, 2, server, images)
    # Each host wants its own image first of all, and that of its neighbour.
    gets = [(agent, image, blob)
            for i, agent in enumerate(agents)
            for image in (images[i], images[i - 1]) for blob in image.blobs]
    with Gauge(registry) as gauge:
        answers = Gets(registry, gets).join()
    assert len(answers) == len(gets) and all(answers.values()), answers
    assert gauge.most == 2
    wait_until("connections end with their slots", lambda: not registry.host.connections(PORT))


def test_a_large_blob_has_further_connections_within_the_bound(rig, faulty):
    image = make_image("team/large", layer_sizes=(64 << 20,))
    registry = faulty()
    registry.add(image)
    registry.faults.append(slow(8 << 20))  # each connection; so each further one is worth while
    agent = rig.agent("a", [upstream(registry, connections=3)])
    with Gauge(registry) as gauge:
        answers = Gets(registry, [(agent, image, image.layers[-1])]).join()
    assert all(answers.values()), answers
    assert gauge.most == 3


def test_slots_of_a_killed_host_come_back(rig):
    images = [make_image(f"team/{name}", layer_sizes=(12 << 20,)) for name in "abc"]
    registry, agents = cluster(rig, 1, False, images, rate="50mbit", names="abc")
    first = Gets(registry, [(agents[0], images[0], images[0].layers[-1])])
    wait_until("the first one reads", lambda: registry.host.connections(PORT))
    others = Gets(registry, [(agent, image, image.layers[-1])
                             for agent, image in zip(agents[1:], images[1:])])
    agents[0].kill()
    with Gauge(registry) as gauge:
        answers = others.join()
    first.join()
    assert all(answers.values()), answers
    assert gauge.most == 1
