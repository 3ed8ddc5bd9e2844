"""What shoal is for: a container runtime pulls a real image out of its peers."""

import threading

import pytest

from rig import faulty as fault
from rig.image import DOCKER, hello_of, make_image
from rig.podman import Podman
from rig.process import wait_until

LAYERS = (24 << 20, 16 << 20, 1 << 20, 70_001)


def three_hosts(rig, image, runtimes=("a", "b", "c"), **sections):
    """A registry with the image, and agents on a, b and c. Each has a containerd if in runtimes."""
    registry = rig.registry()
    registry.push(image)
    agents = []
    for name in "abc":
        if name in runtimes:
            rig.containerd(name).use_mirror(registry.name)
        agents.append(rig.agent(name, [registry], **sections))
    return registry, agents


def runtime(rig, name):
    """The containerd that three_hosts() started on a host."""
    return rig.containerds[name]


def wait_for_holders(agent, image, count=2):
    for blob in image.blobs:
        agent.wait_holders(blob.digest, count)


@pytest.mark.parametrize("types", [None, DOCKER], ids=["oci", "docker"])
def test_ctr_pulls_from_two_peers_with_the_registry_off(rig, types):
    image = make_image("team/app", layer_sizes=LAYERS, types=types)
    registry, (a, b, c) = three_hosts(rig, image)
    reference = registry.reference(image)
    runtime(rig, "a").pull(reference)
    runtime(rig, "b").pull(reference)
    wait_for_holders(c, image)
    registry.stop()
    sent = [agent.bytes()["to_peers"] for agent in (a, b)]

    runtime(rig, "c").pull(reference)

    assert runtime(rig, "c").is_complete(reference)
    for blob in [image.manifest, *image.blobs]:
        assert runtime(rig, "c").content_path(blob.digest).read_bytes() == blob.data
    assert runtime(rig, "c").run_image(reference, "cat", "/etc/hello") == hello_of(image)
    counted = c.bytes()
    assert counted["from_upstream"] == 0
    assert counted["from_peers"] >= image.size
    sent = [agent.bytes()["to_peers"] - before for agent, before in zip((a, b), sent)]
    assert min(sent) > image.size // 10, f"both peers must have served: {sent}"


def test_cri_pulls_from_two_peers_with_the_registry_off(rig):
    image = make_image("team/app", layer_sizes=LAYERS)
    registry, (a, b, c) = three_hosts(rig, image)
    reference = registry.reference(image)
    for name in "ab":
        runtime(rig, name).cri().pull(reference)
    wait_for_holders(c, image)
    registry.stop()

    cri = runtime(rig, "c").cri()
    pulled = cri.pull(reference)

    assert pulled == image.config.digest
    status = cri.status(reference)
    assert status.repo_tags == [reference]
    assert status.repo_digests == [f"{registry.name}/{image.repository}@{image.top.digest}"]
    assert runtime(rig, "c").run_image(reference, "cat", "/etc/hello") == hello_of(image)
    assert c.bytes()["from_upstream"] == 0
    assert min(agent.bytes()["to_peers"] for agent in (a, b)) > 0


def test_the_first_pull_comes_from_the_upstream_and_is_shared(rig):
    image = make_image("team/app")
    registry, (a, b, _) = three_hosts(rig, image, runtimes=("a", "b"))
    mark = registry.log_size()
    runtime(rig, "a").pull(registry.reference(image))
    assert registry.blob_bytes(mark) == image.size
    assert a.bytes()["from_upstream"] >= image.size
    b.wait_holders(image.layers[1].digest, 1)

    mark = registry.log_size()
    runtime(rig, "b").pull(registry.reference(image))
    assert registry.blob_bytes(mark) == 0
    assert b.bytes()["from_peers"] >= image.size


def test_hosts_that_pull_at_once_ask_the_upstream_about_once(rig):
    image = make_image("team/app", layer_sizes=(24 << 20,))
    registry, agents = three_hosts(rig, image, runtimes=())
    for agent in agents:
        agent.wait_peers(2)
    registry.host.shape("200mbit")
    mark = registry.log_size()
    errors = []

    def pull(agent):
        try:
            agent.fill(registry, image)
        except AssertionError as error:
            errors.append(error)

    pulls = [threading.Thread(target=pull, args=(agent,)) for agent in agents]
    for thread in pulls:
        thread.start()
    for thread in pulls:
        thread.join()
    assert not errors
    # Three hosts, one image: without agreement the upstream would send it three times. How close
    # to once it comes is the business of the benches.
    assert registry.blob_bytes(mark) < 2.5 * image.size
    assert sum(agent.bytes()["from_peers"] for agent in agents) > 0


def test_what_containerd_already_held_is_served_to_peers(rig):
    image = make_image("team/old")
    registry = rig.registry()
    registry.push(image)
    holder = rig.containerd("a")
    holder.use_registry(registry.name, registry.url)
    holder.pull(registry.reference(image))
    a = rig.agent("a", [registry])
    c = rig.agent("c", [registry])
    wait_for_holders(c, image, 1)
    registry.stop()
    c.fill(registry, image)
    assert a.bytes()["to_peers"] >= image.size


@pytest.mark.parametrize("runtime_here", [False, True], ids=["store", "containerd"])
def test_a_restarted_holder_tells_peers_its_tags_with_the_registry_off(rig, runtime_here):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    reference = registry.reference(image)
    if runtime_here:
        rig.containerd("a").use_registry(registry.name, registry.url)
        rig.containerds["a"].pull(reference)
    a = rig.agent("a", [registry])
    if runtime_here:
        wait_until("a knows the image", lambda: a.has_blob(image.manifest.digest))
    else:  # as containerd does: the tag by a HEAD, then all by digest
        assert a.get_manifest(registry, image, method="HEAD").status == 200
        for manifest in (image.top, image.manifest):
            assert a.get_manifest(registry, image, manifest.digest).status == 200
        for blob in image.blobs:
            assert a.get_blob(registry, image, blob).status == 200
        wait_until("a holds the image", lambda: [reference, True] in [
            [entry["name"], entry["here"]] for entry in a.get("/v1/images")])
    registry.stop()
    a.kill()
    a.start()
    c = rig.agent("c", [registry])
    for blob in [image.top, image.manifest, *image.blobs]:
        c.wait_holders(blob.digest, 1)
    answer = c.get_manifest(registry, image)
    assert answer.status == 200
    assert answer.headers["docker-content-digest"] == image.top.digest
    assert "warning" in answer.headers
    assert c.verb("pull", reference, timeout=60).returncode == 0


def test_what_containerd_pulls_past_the_agent_becomes_inventory(rig):
    image = make_image("team/late")
    registry = rig.registry()
    registry.push(image)
    holder = rig.containerd("a")
    holder.use_registry(registry.name, registry.url)
    a = rig.agent("a", [registry])
    holder.pull(registry.reference(image))
    for blob in [image.manifest, *image.blobs]:
        wait_until("containerd's blob is inventory", lambda b=blob: a.has_blob(b.digest))
    holder.forget(registry.reference(image))
    wait_until("a blob that containerd dropped leaves the inventory",
               lambda: not a.has_blob(image.layers[1].digest))


def test_shoal_pull_fills_containerd_and_a_later_cri_pull_needs_only_a_head(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    containerd = rig.containerd("a")
    containerd.use_mirror(registry.name)
    a = rig.agent("a", [registry])
    reference = registry.reference(image)

    done = a.verb("pull", reference, timeout=120)
    assert done.returncode == 0, done.stderr
    assert containerd.is_complete(reference)

    before = a.bytes()["to_runtime"]
    assert containerd.cri().pull(reference) == image.config.digest
    assert a.bytes()["to_runtime"] - before < 10_000, "the layers were asked for again"
    assert containerd.run_image(reference, "cat", "/etc/hello") == hello_of(image)


def test_replication_fills_containerd_as_soon_as_a_peer_holds_a_wanted_image(rig):
    wanted, other = make_image("prod/app"), make_image("test/app")
    registry = rig.registry()
    for image in (wanted, other):
        registry.push(image)
    containerd = rig.containerd("a")
    containerd.use_mirror(registry.name)
    a = rig.agent("a", [registry],
                  replicate=[{"images": [f"{registry.name}/prod/*"], "copies": "all"}])
    b = rig.agent("b", [registry])
    a.wait_peers(1)
    for image in (other, wanted):
        assert b.verb("pull", registry.reference(image), timeout=60).returncode == 0
    wait_until("it is in containerd", lambda: registry.reference(wanted) in containerd.images())
    assert containerd.is_complete(registry.reference(wanted))
    assert containerd.cri().pull(registry.reference(wanted)) == wanted.config.digest
    assert a.bytes()["from_peers"] >= wanted.size
    assert not a.has_blob(other.layers[1].digest)
    assert registry.reference(other) not in containerd.images()


def test_containerd_absent_everything_else_works(rig):
    image = make_image("team/app")
    registry, (a, b, _) = three_hosts(rig, image, runtimes=(),
                                      store={"containerd": "/run/containerd/containerd.sock"})
    a.fill(registry, image)
    b.wait_holders(image.layers[1].digest, 1)
    registry.stop()
    b.fill(registry, image)
    assert b.bytes()["from_peers"] >= image.size


def test_podman_pulls_through_a_mirror_with_a_path_prefix(rig):
    image = make_image("team/app", layer_sizes=LAYERS)
    registry, (a, _, c) = three_hosts(rig, image, runtimes=())
    a.fill(registry, image)
    c.wait_holders(image.layers[1].digest, 1)
    registry.stop()
    podman = Podman(rig.host("c"))
    podman.use_mirror(registry.name, location=f"{registry.name}:5000")
    pulled = podman.pull(registry.reference(image))
    assert f"sha256:{pulled}" == image.config.digest
    assert podman.inspect(pulled)["Digest"] in (image.top.digest, image.manifest.digest)
    assert c.bytes()["from_upstream"] == 0
    assert c.bytes()["from_peers"] >= image.size


def test_a_host_outside_the_open_room_shares_nothing(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a = rig.agent("a", [registry])
    closed = rig.agent("b", [registry], room={"open": False})
    c = rig.agent("c", [registry])
    a.fill(registry, image)
    c.wait_holders(image.layers[1].digest, 1)
    closed.fill(registry, image)
    assert closed.bytes()["from_peers"] == 0
    assert closed.bytes()["from_upstream"] >= image.size
    assert closed.status()["peers"]["alive"] == 0
    assert all(peer["name"] != "b" for peer in a.peers() + c.peers())


def shares_without_a_lan(rig, of_a, of_b):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a = rig.agent("a", [registry], index=of_a)
    b = rig.agent("b", [registry], index=of_b)
    a.fill(registry, image)
    b.wait_holders(image.layers[1].digest, 1)
    registry.stop()
    b.fill(registry, image)
    assert b.bytes()["from_peers"] >= image.size


def test_peers_find_each_other_by_a_static_list(rig):
    endpoint = f"{rig.host('a').address}:7381"
    shares_without_a_lan(rig, {"use": []}, {"use": ["static"], "static": [endpoint]})


def test_peers_find_each_other_by_an_index_server(rig):
    rig.index_server("index")
    index = {"use": ["rendezvous"], "rendezvous": [f"https://{rig.host('index').address}:7383"]}
    shares_without_a_lan(rig, index, index)


def test_who_has_asks_further_when_it_is_told_to(rig, faulty):
    image = make_image("team/app", layer_sizes=(20 << 20,))
    registry = faulty()
    registry.add(image)
    rig.index_server("index")
    index = {"use": ["rendezvous"], "rendezvous": [f"https://{rig.host('index').address}:7383"]}
    a = rig.agent("a", [registry], index=index)
    # Its catalog learns once, and nothing by itself after that.
    b = rig.agent("b", [registry], index={**index, "sync_interval": "1h"}, start=False)
    who = a.status()["id"][:12]
    name = f"{registry.name}/{image.repository}"
    assert a.get_manifest(registry, image, image.top.digest).status == 200  # and under no tag
    wait_until("a holds it", lambda: a.has_blob(image.top.digest))
    b.start()
    b.wait_holders(image.top.digest, 1)

    assert who in b.verb("who-has", f"{name}@{image.top.digest}").stdout
    tag = f"{name}:{image.tag}"
    nobody = b.verb("who-has", tag)
    assert nobody.returncode == 1 and tag in nobody.stderr
    assert not registry.asked(f"/manifests/{image.tag}")
    assert who in b.verb("who-has", tag, "--resolve").stdout  # the registry says what it means
    assert b.verb("who-has", f"{name}:absent", "--resolve").returncode == 1

    registry.faults.append(fault.slow(2 << 20))
    layer = image.layers[1]
    connection, response = a.open_blob(registry, image, layer)
    assert response.status == 200
    assert b.verb("who-has", layer.digest).returncode == 1
    found = wait_until("the index knows who fetches it",
                       lambda: b.verb("who-has", layer.digest, "--resolve").stdout)
    assert who in found and "by the peer index" in found
    asked = b.get(f"/v1/who-has?what={layer.digest}&resolve=true")["asked"]
    assert [(one["kind"], one["found"]) for one in asked] == [("catalog", 0), ("rendezvous", 1)]
    assert all(0 <= one["took_us"] < 2_000_000 for one in asked)
    asked = b.get(f"/v1/who-has?what={image.top.digest}")["asked"]
    assert [(one["kind"], one["found"]) for one in asked] == [("catalog", 1)]
    connection.close()
