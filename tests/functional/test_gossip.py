"""Whom peers hear of from peers, with nothing but one static endpoint."""

import base64

from rig import web
from rig.identity import Identity
from rig.process import wait_until

ROOM_OF = 6


def names_at(agent, host, identity):
    """Whom the agent tells a member that it has heard from: the first 8 bytes of ids, as hex."""
    context = web.insecure_context(identity.certificate, identity.key)
    answer = web.request(host, 7381, "GET", "/p2p/v1/peers/names", context=context,
                         address=agent.host.address)
    assert answer.status == 200
    text = answer.json()["names"]
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return {data[at:at + 8].hex() for at in range(0, len(data), 8)}


def alive(agent):
    return {peer["name"] for peer in agent.peers() if peer["state"] == "alive"}


def test_a_joiner_knows_the_room_from_any_one_member(rig):
    first = f"{rig.host('a').address}:7381"
    names = "abcdef"[:ROOM_OF]
    # Slow syncs: what is learnt here is not learnt by asking all again and again.
    agents = [rig.agent(name, [], index={"use": [] if name == "a" else ["static"],
                                         "static": [] if name == "a" else [first],
                                         "sync_interval": "10s"}) for name in names]
    for agent in agents:
        wait_until(f"{agent.host.name} knows all", lambda agent=agent: len(alive(agent)) == 5)
    last = f"{agents[-1].host.address}:7381"
    joiner = rig.agent("j", [], index={"use": ["static"], "static": [last],
                                       "sync_interval": "10s"})
    wait_until("the joiner knows all", lambda: alive(joiner) == set(names))
    for agent in agents:
        wait_until("all know the joiner", lambda agent=agent: "j" in alive(agent))
    size = wait_until("the size is reckoned from lists", lambda: (
        lambda peers: peers["estimated_network_size"] == 7 and peers)(joiner.status()["peers"]))
    assert size["estimated_network_size_error"] <= 3
    text = joiner.verb("status").stdout
    assert "about 7 hosts" in text


def test_whom_a_peer_invents_is_not_passed_on(rig, liar):
    a = rig.agent("a", [], index={"use": []})
    teller = liar([], port=7400)
    teller.friends = [(who, who.envelope([f"{teller.host.address}:{9000 + n}"], name=f"nobody-{n}"))
                      for n, who in ((n, Identity(teller.host.folder / f"invented-{n}"))
                                     for n in range(3))]
    invented = {who.id[:16] for who, _ in teller.friends}
    b = rig.agent("b", [], index={"use": ["static"],
                                  "static": [teller.endpoint, f"{a.host.address}:7381"]})
    wait_until("b has heard of them", lambda: len(
        [peer for peer in b.peers() if peer["name"].startswith("nobody")]) == 3)
    wait_until("b and a know each other", lambda: "b" in alive(a) and "a" in alive(b))
    told = wait_until("b tells of a", lambda: (lambda names: a.status()["id"][:16] in names and
                                               names)(names_at(b, teller.host, teller.identity)))
    assert not told & invented
    assert teller.identity.id[:16] in told  # it does answer
    # Nor do they seem to live, ever.
    wait_until("b has given them up", lambda: all(
        peer["state"] == "gone" for peer in b.peers() if peer["name"].startswith("nobody")))
    assert not names_at(b, teller.host, teller.identity) & invented
    # a hears from b of the one that answers, and of nobody else.
    wait_until("a has heard of the liar", lambda: alive(a) == {"b", "liar"})
    assert not invented & {peer["id"][:16] for peer in b.peers() if peer["state"] == "alive"}


def test_names_are_for_members_and_asked_for_in_bounds(rig):
    closed = rig.agent("a", [])
    stranger = rig.host("s")
    identity = Identity(stranger.folder / "identity")
    context = web.insecure_context(identity.certificate, identity.key)

    def get(path, **options):
        return web.request(stranger, 7381, "GET", "/p2p/v1" + path,
                           address=closed.host.address, **options)

    assert names_at(closed, stranger, identity) == set()
    assert get("/peers?names=AQIDBAUGBwg", context=context).json() == {"records": []}
    assert get("/peers?names=AQID", context=context).status == 400
    assert get("/peers?names=" + "A" * 1080, context=context).status == 400
