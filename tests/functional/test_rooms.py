"""Rooms with keys: who shares with whom, and who no longer."""

import json
import re
import time

import pytest

from rig import web
from rig.agent import DATA
from rig.identity import Identity
from rig.image import make_image
from rig.process import wait_until
from rig.room import CLOSED, NO_ROOM, asks, make_room, peer_id, rooms_of, said, shows


def knows_names(agent):
    return sorted(peer["name"] for peer in agent.peers())


def two_in_a_room(rig):
    """An image in a registry, the registry, a room, and a second member beside its owner."""
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    room = make_room(rig, "a", [registry])
    return image, registry, room, room.agent(rig, "b", [registry])


def test_joined_hosts_share_with_the_registry_off(rig):
    image, registry, room, b = two_in_a_room(rig)
    assert b.status()["room"] == ["team-a"]
    room.owner.fill(registry, image)
    b.wait_holders(image.layers[1].digest, 1)
    registry.stop()
    b.fill(registry, image)
    assert b.bytes()["from_upstream"] == 0
    assert b.bytes()["from_peers"] >= image.size
    assert rooms_of(b, room.owner) == ["team-a"]


def test_a_cold_pull_of_a_room_asks_the_upstream_once(rig):
    image = make_image("team/app", layer_sizes=(24 << 20,))
    registry = rig.registry()
    registry.push(image)
    room = make_room(rig, "a", [registry])
    b = room.agent(rig, "b", [registry])
    for one, other in ((room.owner, b), (b, room.owner)):
        wait_until("they know each other", lambda one=one, other=other: rooms_of(one, other))
    room.owner.fill(registry, image)
    b.fill(registry, image)
    both = room.owner.bytes()["from_upstream"] + b.bytes()["from_upstream"]
    assert both < image.size * 1.5


def test_an_agent_that_runs_takes_part_as_soon_as_it_joined(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    room = make_room(rig, "a", [registry])
    room.owner.fill(registry, image)
    late = rig.agent("b", [registry], room=CLOSED)
    assert late.status()["room"] == []
    assert "joined room team-a" in said(late, "room", "join", room.token())
    late.wait_holders(image.layers[1].digest, 1)
    registry.stop()
    late.fill(registry, image)
    assert late.bytes()["from_upstream"] == 0
    listed = said(late, "room", "list")
    assert room.id in listed and "yes" in listed


def test_a_token_says_where_the_room_is(rig):
    """No LAN, nothing in the hosts' configuration: an index server, or a member's address."""
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    server = rig.index_server("index")
    alone = {"use": []}
    room = make_room(rig, "a", [registry], index=alone)
    url = f"https://{server.host.address}:7383"
    by_server = room.token("--index-server", url)
    said(room.owner, "join", by_server)
    b = room.agent(rig, "b", [registry], by_server, index=alone)
    c = room.agent(rig, "c", [registry],
                   room.token("--peer", f"{room.owner.host.address}:7381"), index=alone)
    room.owner.fill(registry, image)
    for member in (b, c):
        member.wait_holders(image.layers[1].digest, 1)
    registry.stop()
    for member in (b, c):
        member.fill(registry, image)
        assert member.bytes()["from_upstream"] == 0


def test_two_rooms_on_one_network_do_not_see_each_other(rig):
    image = make_image("secret/app")
    layer = image.layers[1].digest
    registry = rig.registry()
    registry.push(image)
    server = rig.index_server("index")
    index = {"use": ["lan", "rendezvous"],
             "rendezvous": [f"https://{server.host.address}:7383"]}
    a = make_room(rig, "a1", [registry], "team-a", index=index)
    b = make_room(rig, "b1", [registry], "team-b", index=index)
    a2 = a.agent(rig, "a2", [registry], index=index)
    b2 = b.agent(rig, "b2", [registry], index=index)
    a.owner.fill(registry, image)
    a2.wait_holders(layer, 1)
    b2.wait_peers(1)
    for stranger in (b.owner, b2):
        assert set(knows_names(stranger)) <= {"b1", "b2"}
        assert stranger.get("/v1/images") == []
        assert stranger.blob(layer) is None
        assert stranger.get(f"/v1/who-has?what={layer}&resolve=true")["holders"] == []
    # A member of the one, with its own key, at the door of the other: the same for what is there
    # and what is not, and for a membership of the wrong room.
    absent = "sha256:" + "0" * 64
    for path in ("/keys?epoch=0&after=0&limit=9", "/peers", f"/blobs/{layer}/map",
                 f"/blobs/{absent}/map", f"/blobs/{layer}"):
        answer = asks(b2, a.owner, path)
        assert (answer.status, answer.json()["error"]) == (403, NO_ROOM), path
    for where in (a.id, b.id, "0" * 64):
        answer = shows(b2, a.owner, b, where)
        assert (answer.status, answer.json()["error"]) == (403, NO_ROOM), where
    # What the network can see of either: ids, no names.
    record = asks(b2, a.owner, "/record").body
    assert b"team-a" not in record
    # The other room gets the same blob, from the upstream, and never from here.
    b2.fill(registry, image)
    assert b2.bytes()["from_peers"] == 0
    assert b2.bytes()["from_upstream"] >= image.size
    assert a.owner.bytes()["to_peers"] == 0


def shares(**rooms):
    """[[share]] tables: shares(team_a="reg.test/a/*")."""
    return [{"repositories": [pattern], "room": room.replace("_", "-")}
            for room, pattern in rooms.items()]


def test_a_host_in_two_rooms_keeps_their_repositories_apart(rig):
    of_a, of_b, of_none = (make_image(f"{name}/app", layer_sizes=(2 << 20,), seed=n)
                           for n, name in enumerate(("a", "b", "other")))
    registry = rig.registry()
    for image in (of_a, of_b, of_none):
        registry.push(image)
    a = make_room(rig, "a1", [registry], "team-a")
    b = make_room(rig, "b1", [registry], "team-b")
    both = a.agent(rig, "both", [registry])
    said(both, "join", b.token())
    both.stop()
    both.configure(share=shares(team_a="reg.test/a/*", team_b="reg.test/b/*"))
    both.start()
    for one in (a.owner, b.owner):
        wait_until("it is met", lambda one=one: rooms_of(one, both) and rooms_of(both, one))
    for image in (of_a, of_b, of_none):
        both.fill(registry, image)

    def sees(agent, image):
        return agent.blob(image.layers[1].digest) is not None

    def check():
        a.owner.wait_holders(of_a.layers[1].digest, 1)
        b.owner.wait_holders(of_b.layers[1].digest, 1)
        assert not sees(a.owner, of_b) and not sees(b.owner, of_a)
        assert not sees(a.owner, of_none) and not sees(b.owner, of_none)
        for agent, hidden in ((a.owner, of_b), (b.owner, of_a), (a.owner, of_none)):
            digest = hidden.layers[1].digest
            held = asks(agent, both, f"/blobs/{digest}/map")
            absent = asks(agent, both, "/blobs/sha256:" + "0" * 64 + "/map")
            assert held.status == absent.status == 404
            assert held.body.decode().replace(digest, "") == \
                absent.body.decode().replace("sha256:" + "0" * 64, "")
            bytes_too = asks(agent, both, f"/blobs/{digest}", headers={"Range": "bytes=0-1"})
            assert bytes_too.status == 404
        assert asks(a.owner, both, f"/blobs/{of_a.layers[1].digest}/map").status == 200

    check()
    wait_until("the image is known by its name", lambda: a.owner.get("/v1/images"))
    assert [image["name"] for image in a.owner.get("/v1/images")] == ["reg.test/a/app:1"]
    # What it knows of its blobs outlives a kill.
    both.kill()
    both.start()
    for one in (a.owner, b.owner):
        wait_until("it is met", lambda one=one: rooms_of(both, one))
    check()
    registry.stop()
    for blob in of_a.blobs:
        assert a.owner.get_blob(registry, of_a, blob).body == blob.data
    assert a.owner.bytes()["from_upstream"] == 0
    # It asks nobody for what is not theirs either.
    assert b.owner.get_blob(registry, of_a, of_a.layers[1]).status != 200


def test_a_host_in_two_rooms_shares_nothing_unless_it_is_told_what(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a = make_room(rig, "a1", [registry], "team-a")
    b = make_room(rig, "b1", [registry], "team-b")
    both = a.agent(rig, "both", [registry])
    said(both, "join", b.token())
    wait_until("they meet", lambda: rooms_of(both, a.owner) and rooms_of(both, b.owner))
    both.fill(registry, image)
    for owner in (a.owner, b.owner):
        assert asks(both, owner, "/peers").status == 200
        assert asks(owner, both, "/keys?epoch=0&after=0&limit=9").json()["keys"] == []
        assert asks(owner, both, f"/blobs/{image.layers[1].digest}/map").status == 404


def test_an_index_server_does_not_see_which_blobs_a_room_fetches(rig):
    image = make_image("secret/app", layer_sizes=(8 << 20,))
    layer = image.layers[1]
    registry = rig.registry()
    registry.push(image)
    server = rig.index_server("index")
    room = make_room(rig, "a", [registry], index={
        "use": ["rendezvous"], "rendezvous": [f"https://{server.host.address}:7383"]})
    wait_until("it is registered", lambda: server.status()["peers"] >= 1)
    registry.host.shape("20mbit")
    stranger = rig.host("stranger")
    identity = Identity(stranger.folder / "identity")
    context = web.insecure_context(identity.certificate, identity.key)

    def found(namespace):
        answer = web.request(stranger, 7383, "GET", f"/v1/discover?namespace={namespace}",
                             address=server.host.address, context=context)
        return answer.json()["records"]

    connection, response = room.owner.open_blob(registry, image, layer)
    wait_until("its swarm is there", lambda: server.status()["swarms"] >= 1)
    assert response.status == 200
    assert found(f"blob/{layer.digest}") == []
    assert len(found(f"room/{room.id}")) == 1
    connection.close()


def test_a_revoked_host_gets_nothing_soon_after_and_after_a_restart(rig):
    image, later = make_image("team/app"), make_image("team/later", seed=2)
    registry = rig.registry()
    registry.push(image)
    registry.push(later)
    room = make_room(rig, "a", [registry])
    b, c = (room.agent(rig, name, [registry]) for name in "bc")
    room.owner.fill(registry, image)
    for member in (b, c):
        member.wait_holders(image.layers[1].digest, 1)
    for one, other in ((c, b), (b, c)):
        wait_until("they know each other", lambda one=one, other=other: rooms_of(one, other))
    keys = "/keys?epoch=0&after=0&limit=9"
    for member in (room.owner, c):
        assert asks(b, member, keys).status == 200
    room.revoke(b)
    assert asks(b, room.owner, keys).status == 403
    wait_until("the other member knows", lambda: asks(b, c, keys).status == 403)
    wait_until("it is no peer any more", lambda: not rooms_of(c, b))
    room.owner.fill(registry, later)
    c.wait_holders(later.layers[1].digest, 1)
    registry.stop()
    before = b.bytes()["from_peers"]
    assert b.get_blob(registry, later, later.layers[1]).status != 200
    assert b.bytes()["from_peers"] == before
    # It has heard of it, and holds to it. What it was given it shows in vain, to hosts that have
    # just begun, too.
    wait_until("it knows itself", lambda: b.status()["room"] == [])
    for member in (room.owner, c):
        member.kill()
        member.start()
        assert asks(b, member, keys).status == 403
        assert shows(b, member, room).status == 403
        assert shows(c, member, room).status == (403 if member is c else 200)
        assert asks(b, member, keys).status == 403
    b.kill()
    b.host.path(f"{DATA}/rooms/{room.id}/revocations").unlink()
    b.start()
    assert b.get_blob(registry, later, later.layers[1]).status != 200
    assert b.bytes()["from_peers"] == 0
    assert not rooms_of(c, b)


def test_a_member_that_was_away_hears_of_a_revocation_when_it_is_back(rig):
    room = make_room(rig, "a")
    b, c = (room.agent(rig, name) for name in "bc")
    wait_until("they know each other", lambda: rooms_of(c, b) and rooms_of(c, room.owner))
    c.stop()
    room.revoke(b)
    room.owner.kill()
    room.owner.start()
    c.start()
    wait_until("it knows the owner", lambda: rooms_of(c, room.owner))
    wait_until("it heard", lambda: not rooms_of(c, b) and c.get("/v1/rooms")[0]["revocations"] == 1)
    assert asks(b, c, "/peers").status == 403


def test_a_revoked_token_takes_out_all_that_joined_by_it(rig):
    room = make_room(rig, "a")
    result = room.owner.verb("room", "token", room.name, check=True)
    line = result.stdout.strip()
    token = re.search(r"token ([0-9a-f]{64})", result.stderr).group(1)
    b, c = (room.agent(rig, name, token=line) for name in "bc")
    other = room.agent(rig, "d")
    wait_until("all are in", lambda: all(rooms_of(room.owner, one) for one in (b, c, other)))
    room.revoke(token)
    wait_until("they are out", lambda: not rooms_of(other, b) and not rooms_of(other, c))
    assert not rooms_of(room.owner, b) and not rooms_of(room.owner, c)
    assert rooms_of(room.owner, other)


def test_a_granted_host_joins_and_a_revoked_one_can_be_granted_again(rig):
    room = make_room(rig, "a")
    b = rig.agent("b", room=CLOSED)
    other = rig.agent("c", room=CLOSED)
    grant = said(room.owner, "room", "grant", room.name, peer_id(b))
    refused = other.verb("join", grant)
    assert refused.returncode == 1 and "not of" in refused.stderr
    assert other.status()["room"] == []
    said(b, "join", grant)
    wait_until("it is in", lambda: rooms_of(room.owner, b))
    room.revoke(b)
    assert not rooms_of(room.owner, b)
    said(b, "join", grant)
    assert asks(b, room.owner, "/peers").status == 403
    said(b, "join", said(room.owner, "room", "grant", room.name, peer_id(b)))
    wait_until("it is in again", lambda: rooms_of(room.owner, b))


def test_a_host_that_leaves_a_room_is_out_at_once_and_can_join_again(rig):
    image, registry, room, b = two_in_a_room(rig)
    b.fill(registry, image)
    room.owner.wait_holders(image.layers[1].digest, 1)
    assert said(b, "room", "leave", room.name) == "left room team-a"
    assert b.get("/v1/rooms") == [] and b.status()["room"] == []
    assert asks(room.owner, b, "/peers").status == 403
    assert asks(room.owner, b, f"/blobs/{image.layers[1].digest}").status == 403
    wait_until("its members see that", lambda: room.owner.status()["peers"]["alive"] == 0)
    room.owner.fill(registry, image)  # from the upstream
    assert room.owner.bytes()["from_peers"] == 0
    again = b.verb("room", "leave", room.name)
    assert again.returncode == 1 and "not in room team-a" in again.stderr

    b.stop()
    b.start()
    assert b.status()["room"] == []
    said(b, "join", room.token())
    wait_until("it is in again", lambda: rooms_of(room.owner, b) and rooms_of(b, room.owner))


def test_it_is_told_when_a_membership_ends(rig):
    def finding(agent):
        return [(one["state"], one["text"]) for one in json.loads(agent.verb("doctor",
                "--json").stdout) if one["check"] == "room"]

    def day(agent):
        until = agent.get("/v1/rooms")[0]["until"] / 1000
        return time.strftime("%Y-%m-%d", time.gmtime(until))

    room = make_room(rig, "a")
    assert finding(room.owner) == [("ok", f"team-a, until {day(room.owner)}")]
    assert day(room.owner) in room.owner.verb("room", "list").stdout
    b = room.agent(rig, "b", token=room.token("--expires", "100h"))
    ((state, text),) = finding(b)
    assert state == "note" and f"ends on {day(b)}" in text
    wait_until("they have met", lambda: rooms_of(room.owner, b) and rooms_of(b, room.owner))
    room.revoke(b)
    wait_until("it has heard of it", lambda: not b.get("/v1/rooms")[0]["member"])
    ((state, text),) = finding(b)
    assert state == "bad" and "is revoked" in text and "shoal room leave team-a" in text


def test_a_room_key_is_private_and_never_overwritten(rig):
    agent = rig.agent("a", start=False, room=CLOSED)
    said(agent, "room", "create", "team-a")
    key = agent.host.path(f"{DATA}/room-keys/team-a")
    assert key.stat().st_mode & 0o777 == 0o600
    text = key.read_text()
    again = agent.verb("room", "create", "team-a")
    assert again.returncode == 1 and "never overwritten" in again.stderr
    assert key.read_text() == text
    assert agent.verb("room", "token", "team-b").returncode == 1
    token = said(agent, "room", "token", "team-a")
    assert "\n" not in token and text.strip() not in token
    said(agent, "join", token)
    for file in agent.host.path(f"{DATA}/rooms").rglob("*"):
        if file.is_file():
            assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("line", ["hello", "shoal-room-1.", "shoal-room-1.e30"])
def test_what_is_no_token_is_refused(rig, line):
    agent = rig.agent("a", start=False, room=CLOSED)
    assert agent.verb("join", line).returncode == 2
