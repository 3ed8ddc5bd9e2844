"""The rig itself: when this fails, look at the machine first, and not at the agent."""

import time

from rig import web
from rig.image import hello_of, make_image
from rig.podman import Podman
from rig.process import run
from rig.rig import Rig


def test_containerd_pulls_and_runs_an_image_without_any_agent(rig):
    image = make_image("rig/app")
    registry = rig.registry()
    registry.push(image)
    containerd = rig.containerd("a")
    containerd.use_registry(registry.name, registry.url)
    reference = registry.reference(image)
    containerd.pull(reference)
    assert containerd.is_complete(reference)
    assert containerd.run_image(reference, "cat", "/etc/hello") == hello_of(image)
    other = registry.push(make_image("rig/other"))
    assert containerd.cri().pull(registry.reference(other)) == other.config.digest
    assert registry.blob_bytes() >= other.size


def test_podman_pulls_without_any_agent(rig):
    image = make_image("rig/app")
    registry = rig.registry()
    registry.push(image)
    podman = Podman(rig.host("a"))
    podman.use_mirror(registry.name, mirror="127.0.0.1:1", location=f"{registry.name}:5000")
    assert f"sha256:{podman.pull(registry.reference(image))}" == image.config.digest


def test_a_link_is_as_slow_as_it_is_told(rig):
    image = make_image("rig/app", layer_sizes=(5 << 20,))
    registry = rig.registry()
    registry.push(image)
    host = rig.host("a")
    host.shape("100mbit")
    started = time.monotonic()
    answer = web.request(host, 5000, "GET", f"/v2/rig/app/blobs/{image.layers[1].digest}",
                         address=registry.host.address)
    rate = len(answer.body) * 8 / 1e6 / (time.monotonic() - started)
    assert answer.body == image.layers[1].data
    assert 50 < rate < 125


def test_nothing_stays_behind():
    with Rig() as rig:
        host = rig.host("a")
        prefix, folder = rig.network.prefix, rig.folder
        left = host.start("sleep", "1000", log="sleep.log")
        assert prefix in run("ip", "netns").stdout
    assert left.popen.wait(5) != 0
    assert prefix not in run("ip", "netns").stdout
    assert not folder.exists()
