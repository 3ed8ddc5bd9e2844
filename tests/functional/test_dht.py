"""Found by the DHT alone: no multicast, no index server, no list of peers."""

import ipaddress
import socket
import threading
import time

from rig.agent import DATA
from rig.dht_liar import DhtLiar
from rig.image import make_image
from rig.process import wait_until
from rig.room import CLOSED, make_room
from rig.wire import Wire, destinations

DHT = 7384


def only_dht(*known):
    """What an agent is configured with that is told of these hosts."""
    return {"index": {"use": ["dht"]},
            "dht": {"bootstrap": [f"{host.address}:{DHT}" for host in known]}}


def nodes(agent):
    return agent.metrics()["shoal_dht_nodes"]


def dials(agent):
    return agent.metrics()["shoal_dht_dials_total"]


def test_agents_find_each_other_and_an_image(rig):
    image = make_image("team/app", layer_sizes=(8 << 20, 1 << 20))
    registry = rig.registry()
    registry.push(image)
    first = rig.host("a")
    a, b, c, d = (rig.agent(name, [registry], **only_dht(first)) for name in "abcd")
    for agent in (a, b, c, d):
        agent.wait_peers(3)
        assert [entry["kind"] for entry in agent.status()["index"]] == ["dht"]
        wait_until("nodes are counted", lambda: nodes(agent) > 0)
    assert "nodes known" in d.verb("status").stdout

    a.fill(registry, image)
    for agent in (b, d):
        for blob in image.blobs:
            agent.wait_holders(blob.digest, 1)
    registry.stop()
    b.fill(registry, image)
    d.fill(registry, image)
    assert b.bytes()["from_upstream"] == d.bytes()["from_upstream"] == 0

    # A newcomer who knows another one of them, while the first is away.
    a.stop()
    began = time.monotonic()
    e = rig.agent("e", [registry], **only_dht(c.host))
    for agent in (b, c, d):
        wait_until("the newcomer is known", lambda: "e" in [
            peer["name"] for peer in agent.peers() if peer["state"] == "alive"])
    print(f"the newcomer is known to all {time.monotonic() - began:.1f} s after its start began")
    e.fill(registry, image)
    assert e.bytes()["from_upstream"] == 0


def test_nothing_goes_to_the_public_network(rig):
    way_out = rig.host("gateway")  # and the server of names
    ours = ipaddress.ip_network(f"{way_out.address}/24", strict=False)
    first = rig.host("a")
    for name in "abc":
        host = rig.host(name)
        host.run("ip", "route", "add", "default", "via", way_out.address)
        host.write("/etc/resolv.conf", f"nameserver {way_out.address}\n")

    def strayed(frames):
        return {(str(address), port) for address, _, port in destinations(frames)
                if not (address in ours or address.is_multicast) or port == 53}

    wire = Wire(way_out)
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a, b, c = (rig.agent(name, [registry], **only_dht(first)) for name in "abc")
    for agent in (a, b, c):
        agent.wait_peers(2)
    a.fill(registry, image)
    b.wait_holders(image.layers[0].digest, 1)
    c.fill(registry, image)
    a.stop()
    a.start()  # it goes on from the table it has kept
    a.wait_peers(2)
    assert strayed(wire.stop()) == set()

    wire = Wire(way_out)
    with first.inside():
        stray = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with stray:
        stray.sendto(b"out", ("203.0.113.1", 6881))
    wait_until("what goes out is seen", lambda: ("203.0.113.1", 6881) in strayed(wire.frames()))
    wire.stop()


def test_rooms_with_keys_do_not_see_each_other_in_one_dht(rig):
    first = rig.host("a")
    ours = make_room(rig, "a", name="ours", **only_dht(first))
    theirs = make_room(rig, "c", name="theirs", **only_dht(first))
    b = ours.agent(rig, "b", **only_dht(first))
    d = theirs.agent(rig, "d", **only_dht(first))
    apart = rig.agent("e", room=CLOSED, **only_dht(first))
    for agent, other in ((b, "a"), (d, "c")):
        agent.wait_peers(1)
        assert {peer["name"] for peer in agent.peers()} == {other}
        wait_until("the DHT is everybody's", lambda: nodes(agent) >= 3)
        assert {peer["name"] for peer in agent.peers()} == {other}
    assert apart.status()["index"] == []  # in no room it looks for nobody


def test_a_blob_that_is_just_being_fetched_is_found_by_its_key(rig):
    image = make_image("team/app", layer_sizes=(24 << 20,))
    registry = rig.registry()
    registry.push(image)
    registry.host.shape("60mbit")
    first = rig.host("a")
    agents = [rig.agent(name, [registry], **only_dht(first)) for name in "abc"]
    for agent in agents:
        agent.wait_peers(2)
    fills = [threading.Thread(target=agent.fill, args=(registry, image)) for agent in agents]
    for thread in fills:
        thread.start()
    for thread in fills:
        thread.join()
    total = sum(agent.bytes()["from_upstream"] for agent in agents)
    assert total < 2 * image.size, total


def test_a_restarted_agent_remembers_the_table(rig):
    first = rig.host("a")
    a, b, c = (rig.agent(name, **only_dht(first)) for name in "abc")
    for agent in (a, b, c):
        agent.wait_peers(2)
    state = c.host.path(f"{DATA}/dht")
    wait_until("the routing table is kept", lambda: state.exists() and nodes(c) >= 2)
    c.stop()
    a.kill()  # the one that the configuration names
    c.host.run("rm", "-f", f"{DATA}/peers")  # records of peers; the DHT must do without
    c.configure(dht={"bootstrap": []})
    c.start()
    c.wait_peers(1)
    assert {peer["name"] for peer in c.peers() if peer["state"] == "alive"} == {"b"}

    # What is damaged is no more than forgotten.
    c.kill()
    c.host.run("rm", "-f", f"{DATA}/peers")
    c.host.write(f"{DATA}/dht", "d9:dht state" + "x" * 500)
    c.configure(dht={"bootstrap": [f"{b.host.address}:{DHT}"]})
    c.start()
    c.wait_peers(1)


def test_one_who_answers_with_nonsense_is_harmless(rig):
    image = make_image("team/app", layer_sizes=(4 << 20,))
    registry = rig.registry()
    registry.push(image)
    first, bad = rig.host("a"), rig.host("bad")
    # Real hosts at wrong ports, ourselves under other names, and the liar itself.
    liar = DhtLiar(bad, [(first.address, 22), (first.address, 7380), (first.address, 7381),
                         ("127.0.0.1", 7381), ("0.0.0.0", 7381), ("255.255.255.255", 7381),
                         ("224.0.0.1", 7381), (bad.address, 7381)])
    rig.on_close(liar.close)
    agents = [rig.agent(name, [registry], **only_dht(bad, first)) for name in "abc"]
    began = time.monotonic()
    for agent in agents:
        agent.wait_peers(2, timeout=30)
    wait_until("the liar was asked", lambda: liar.asked.get(b"get_peers", 0) > 10)
    wait_until("what it names is tried", lambda: sum(map(dials, agents)) > 40)
    agents[0].fill(registry, image)
    for blob in image.blobs:
        agents[1].wait_holders(blob.digest, 1)
    registry.stop()
    agents[1].fill(registry, image)
    assert agents[1].bytes()["from_upstream"] == 0
    for agent in agents:
        assert {peer["name"] for peer in agent.peers()} == set("abc") - {agent.host.name}
        tried, spent = dials(agent), time.monotonic() - began
        assert tried <= 32 * (spent + 2), (tried, spent)
        print(f"{agent.host.name} dialled {tried:.0f} endpoints in {spent:.0f} s")
