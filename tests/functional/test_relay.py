"""Hosts that nobody can dial, and the relays through which they are reached."""

import hashlib
import json

import pytest

from rig import web
from rig.agent import PEER
from rig.identity import Identity
from rig.image import make_image
from rig.process import run, wait_until
from rig.room import CLOSED, Room
from rig.wire import Wire

# A SYN that comes is not answered, as behind NAT: the host still dials others.
_ONLY_OUT = """table inet only_out {
  chain input {
    type filter hook input priority 0; policy accept;
    iif != "lo" tcp flags & (syn | ack) == syn drop
  }
}
"""


def only_out(rig, name):
    """A host that nobody can dial, and that reaches no other host of its kind in any way."""
    host = rig.host(name)
    host.write("/etc/only-out.nft", _ONLY_OUT)
    host.run("nft", "-f", "/etc/only-out.nft")
    run("bridge", "-n", rig.network.namespace, "link", "set", "dev", name, "isolated", "on")
    return host


def let_in(host):
    host.run("nft", "delete", "table", "inet", "only_out")


@pytest.fixture
def members(rig):
    """relay(name, ...), hidden(name, ...): agents that meet at an index server."""
    rig.index_server("index")
    url = f"https://{rig.host('index').address}:7383"
    index = {"use": ["rendezvous"], "rendezvous": [url]}

    class Members:
        def relay(self, name, registries=(), **sections):
            return rig.agent(name, registries, index=index, **sections)

        def hidden(self, name, registries=(), **sections):
            only_out(rig, name)
            return rig.agent(name, registries, index=index, **sections)

    return Members()


def relay_of(agent):
    return agent.status()["relay"]


def doctor(agent):
    found = json.loads(agent.verb("doctor", "--json").stdout)
    return {entry["check"]: entry["text"] for entry in found}


def wait_reached(agent, through, timeout=30):
    """Waits until the agent holds a place at each of these relays."""
    ids = {one.status()["id"] for one in through}

    def holds():
        said = relay_of(agent)
        return said["dialable"] == "no" and {one["id"] for one in said["through"]} == ids
    wait_until(f"{agent.host.name} is reached through relays", holds, timeout)


def seen_by(agent, other):
    """What /v1/peers of an agent says of another."""
    other_id = other.status()["id"]
    return next((peer for peer in agent.peers() if peer["id"] == other_id), None)


def wait_alive(agent, other, relay=None, timeout=30):
    def alive():
        peer = seen_by(agent, other)
        return (peer and peer["state"] == "alive" and
                (relay is None or peer["relay"] == relay.status()["id"]))
    wait_until(f"{agent.host.name} reaches {other.host.name}", alive, timeout)


def test_two_hosts_that_cannot_dial_each_other(rig, members):
    registry = rig.registry()
    image, second = (make_image(name, layer_sizes=(12 << 20,)) for name in ("team/app", "team/b"))
    registry.push(image)
    registry.push(second)
    relay = members.relay("r")
    a, b = (members.hidden(name, [registry]) for name in "ab")
    for one, other in ((a, b), (b, a), (relay, a)):
        with pytest.raises(OSError):
            one.host.connect(PEER, other.host.address, timeout=1).close()
    wait_reached(a, [relay])
    wait_reached(b, [relay])
    wait_alive(a, b, relay)
    wait_alive(b, a, relay)
    wait_alive(relay, a, relay)  # through itself
    assert relay_of(relay)["dialable"] != "no" and relay_of(relay)["places"] == 2
    assert f"nobody can dial this host; it is reached through r ({relay.host.address}:7381)" in \
        doctor(a)["reach"]
    assert "for 2 others of at most 16" in doctor(relay)["relay"]
    a.fill(registry, image)
    b.fill(registry, second)
    registry.stop()
    b.wait_holders(image.layers[-1].digest, 1)
    a.wait_holders(second.layers[-1].digest, 1)
    before = b.bytes()["from_upstream"], a.bytes()["from_upstream"]
    b.fill(registry, image)
    a.fill(registry, second)
    assert (b.bytes()["from_upstream"], a.bytes()["from_upstream"]) == before
    carried = relay.metrics()["shoal_relay_carried_bytes_total"]
    assert carried >= sum(blob.size for part in (image, second) for blob in part.blobs)
    assert relay.metrics()["shoal_relay_calls_total"] >= 2
    assert not relay.has_blob(image.layers[-1].digest)
    assert "reached through r at" in a.verb("status", check=True).stdout
    assert "relay " + relay.status()["id"][:12] in a.verb("peers", check=True).stdout


def seen_in(frames, blob):
    """Which of 64 places of a blob, and whether its digest, are in frames as they are."""
    step = blob.size // 64
    wire = b"\n".join(frames)
    return (sum(blob.data[at:at + 48] in wire for at in range(0, 64 * step, step)),
            blob.digest.split(":")[1].encode() in wire)


def test_a_relay_sees_no_plain_byte(rig, members):
    registry = rig.registry()
    image = make_image("team/app", layer_sizes=(12 << 20,))
    registry.push(image)
    relay = members.relay("r")
    a, b = (members.hidden(name, [registry]) for name in "ab")
    wait_reached(a, [relay])
    wait_reached(b, [relay])
    wait_alive(b, a, relay)
    layer = image.layers[-1]
    wire = Wire(rig.host("reg"))
    a.fill(registry, image)
    places, digest = seen_in(wire.stop(), layer)
    assert places > 48 and digest  # the registry speaks HTTP: so it looks when it can be read
    b.wait_holders(layer.digest, 1)
    wire = Wire(relay.host)
    b.fill(registry, image)
    frames = wire.stop()
    assert b.bytes()["from_upstream"] == 0
    assert sum(map(len, frames)) > 2 * layer.size  # in and out
    assert seen_in(frames, layer) == (0, False)


def test_a_host_that_can_be_dialled_again_lets_go_of_its_relay(rig, members):
    relay = members.relay("r")
    a = members.hidden("a")
    wait_reached(a, [relay])
    let_in(a.host)
    wait_until("a can be dialled", lambda: relay_of(a)["dialable"] == "yes", 90)
    assert relay_of(a)["through"] == []
    wait_until("its place is free", lambda: relay_of(relay)["places"] == 0, 5)


def test_a_relay_that_is_killed_in_a_pull_is_replaced_by_the_other(rig, members):
    registry = rig.registry()
    image = make_image("team/app", layer_sizes=(24 << 20,))
    registry.push(image)
    relays = [members.relay(name, relay={"rate": "40Mbit/s"}) for name in ("r", "s")]
    a, b = (members.hidden(name, [registry]) for name in "ab")
    wait_reached(a, relays)
    wait_alive(b, a)
    a.fill(registry, image)
    b.wait_holders(image.layers[-1].digest, 1)
    registry.stop()
    connection, answer = b.open_blob(registry, image, image.layers[-1])
    data = answer.read(2 << 20)
    used = seen_by(b, a)["relay"]
    killed, other = sorted(relays, key=lambda one: one.status()["id"] != used)
    killed.kill()
    data += answer.read()
    connection.close()
    assert "sha256:" + hashlib.sha256(data).hexdigest() == image.layers[-1].digest
    assert b.bytes()["from_upstream"] == 0
    wait_reached(a, [other])


def test_places_are_bounded(rig, members):
    relay = members.relay("r", relay={"slots": 1})
    a = members.hidden("a")
    wait_reached(a, [relay])
    b = members.hidden("b")
    wait_until("b was refused", lambda: relay.metrics()["shoal_relay_refused_total"] >= 1, 30)
    assert relay_of(b) | {"dialable": "no", "through": []} == relay_of(b)
    assert relay_of(relay)["places"] == 1


def test_a_host_that_serves_no_relay_is_none(rig, members):
    relay = members.relay("r", relay={"serve": False})
    a = members.hidden("a")
    wait_until("a knows that it cannot be dialled", lambda: relay_of(a)["dialable"] == "no", 30)
    assert relay_of(a)["through"] == [] and not relay_of(relay)["serves"]


def test_circuits_end_after_their_time_and_pulls_go_on(rig, members):
    registry = rig.registry()
    image = make_image("team/app", layer_sizes=(16 << 20,))
    registry.push(image)
    relay = members.relay("r", relay={"time": "2s", "rate": "40Mbit/s"})
    a, b = (members.hidden(name, [registry]) for name in "ab")
    wait_reached(a, [relay])
    wait_alive(b, a)
    a.fill(registry, image)
    b.wait_holders(image.layers[-1].digest, 1)
    registry.stop()
    calls = relay.metrics()["shoal_relay_calls_total"]
    answer = b.get_blob(registry, image, image.layers[-1], timeout=120)
    assert answer.status == 200 and answer.body == image.layers[-1].data
    assert answer.seconds > 2  # 16 MiB at 40 Mbit/s: the rate holds
    assert relay.metrics()["shoal_relay_calls_total"] > calls + 1
    assert b.bytes()["from_upstream"] == 0


def test_what_strangers_may_not(rig, members):
    relay = members.relay("r")
    a = members.hidden("a")
    wait_reached(a, [relay])
    host = rig.host("stranger")
    identity = Identity(host.folder / "identity")
    context = web.insecure_context(identity.certificate, identity.key)

    def said(request):
        with context.wrap_socket(host.connect(PEER, relay.host.address)) as connection:
            connection.sendall(request.encode() + b"\r\n\r\n")
            return int(connection.recv(4096).split()[1])

    other = Identity(host.folder / "other")
    # Nobody is reached at a relay who holds no place there, whatever a record says.
    assert said(f"CONNECT {other.id}.peer.shoal:443 HTTP/1.1") == 404
    # A place is of the key that the connection shows: no request can name another id.
    assert said("POST /p2p/v1/relay?wait_ms=0 HTTP/1.1\r\nContent-Length: 0") == 200
    assert said(f"CONNECT {other.id}.peer.shoal:443 HTTP/1.1") == 404
    # Calls are taken by whom they are for. The numbers are small.
    assert {said(f"CONNECT {number}.call.shoal:443 HTTP/1.1") for number in range(1, 20)} == {404}
    # A call that is not taken ends.
    assert said(f"CONNECT {identity.id}.peer.shoal:443 HTTP/1.1") == 504
    for target in ("example.com:443", "10.0.0.1:80", f"{other.id}.peer.shoal:80", "x.call.shoal:443"):
        assert said(f"CONNECT {target} HTTP/1.1") == 400
    # Only the asker's own record is dialled.
    forged = json.dumps(other.envelope([f"{a.host.address}:{PEER}"]))
    body = "POST /p2p/v1/dialback HTTP/1.1\r\nContent-Length: 0"
    assert said(body) == 400
    assert said(f"{body}\r\nShoal-Record: {forged}") == 400


def test_in_a_room_with_a_key(rig):
    registry = rig.registry()
    image = make_image("team/app", layer_sizes=(2 << 20,))
    registry.push(image)
    rig.index_server("index")
    place = ("--index-server", f"https://{rig.host('index').address}:7383")
    owner = rig.agent("r", room=CLOSED, index={"use": []})
    room = Room(owner, "team")
    token = room.token(*place)
    owner.stop()
    relay = room.agent(rig, "r", token=token, index={"use": []})
    for name in "ab":
        only_out(rig, name)
    a, b = (room.agent(rig, name, [registry], token=token, index={"use": []}) for name in "ab")
    wait_reached(a, [relay])
    wait_alive(b, a, relay)
    a.fill(registry, image)
    registry.stop()
    b.wait_holders(image.layers[-1].digest, 1)
    b.fill(registry, image)
    assert b.bytes()["from_upstream"] == 0
    # Whoever is in another room of the relay, or in none, is not even told that it is one.
    host = rig.host("stranger")
    identity = Identity(host.folder / "identity")
    context = web.insecure_context(identity.certificate, identity.key)
    for method, path in (("POST", "/p2p/v1/relay?wait_ms=0"), ("POST", "/p2p/v1/dialback")):
        answer = web.request(host, PEER, method, path, address=relay.host.address, context=context)
        assert answer.status == 403, (path, answer)


def test_no_index_server_is_needed(rig):
    registry = rig.registry()
    image = make_image("team/app", layer_sizes=(2 << 20,))
    registry.push(image)
    relay = rig.agent("r", index={"use": []})
    fixed = {"use": ["static"], "static": [f"{relay.host.address}:{PEER}"]}
    for name in "ab":
        only_out(rig, name)
    b = rig.agent("b", [registry], index=fixed)
    wait_reached(b, [relay])
    a = rig.agent("a", [registry], index=fixed)
    wait_reached(a, [relay])
    wait_alive(b, a, relay)
    wait_alive(a, b, relay)
    a.fill(registry, image)
    registry.stop()
    b.wait_holders(image.layers[-1].digest, 1)
    b.fill(registry, image)
    assert b.bytes()["from_upstream"] == 0
