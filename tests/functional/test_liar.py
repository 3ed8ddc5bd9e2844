"""Peers that lie. The runtime sees only right bytes, and every pull succeeds all the same."""

import http.client
import json

import pytest

from rig.agent import upstream
from rig.identity import base64url
from rig.image import make_image
from rig.liar import chain_states, piece_of
from rig.process import wait_until

IMAGE = make_image("team/app", layer_sizes=(12 << 20,))
LAYER = IMAGE.layers[1]
OTHER = LAYER.data.translate(bytes(range(255, -1, -1)))  # as long as the layer, and none of it


def wrong_bytes(liar):
    def serve(handler, digest):
        liar.send(handler, OTHER)
    liar.serve_bytes = serve


def one_wrong_byte(liar):
    data = bytearray(LAYER.data)
    data[len(data) // 2] ^= 1

    def serve(handler, digest):
        liar.send(handler, bytes(data))
    liar.serve_bytes = serve


def consistent_lie(liar):
    """A chain and bytes that fit each other, and not the digest."""
    def serve(handler, digest):
        liar.send(handler, OTHER)

    def serve_map(handler, digest, query):
        handler.answer(200, liar.map_document(LAYER, OTHER))
    liar.serve_bytes, liar.serve_map = serve, serve_map


def wrong_chain(liar):
    """Right bytes under a wrong chain."""
    states = chain_states(OTHER, liar.piece)
    document = liar.map_document(LAYER)
    document["chain"] = base64url(b"".join(states))

    def serve_map(handler, digest, query):
        handler.answer(200, document)
    liar.serve_map = serve_map


def late_wrong_chain(liar):
    """A chain that is right at first and wrong from the middle on."""
    right, wrong = chain_states(LAYER.data, liar.piece), chain_states(OTHER, liar.piece)
    half = len(right) // 2
    document = liar.map_document(LAYER)
    document["chain"] = base64url(b"".join(right[:half] + wrong[half:]))

    def serve_map(handler, digest, query):
        handler.answer(200, document)
    liar.serve_map = serve_map


def wrong_size(liar):
    document = liar.map_document(LAYER, LAYER.data[:-1])

    def serve_map(handler, digest, query):
        handler.answer(200, document)
    liar.serve_map = serve_map


def holds_nothing(liar):
    """Claims the blob in ServeKeys and in its map, and answers 404 for the bytes."""
    def serve(handler, digest):
        handler.answer(404, {"error": "not here"})
    liar.serve_bytes = serve


def has_no_map(liar):
    def serve_map(handler, digest, query):
        handler.answer(404, {"error": "not here"})
    liar.serve_map = serve_map


def slow(liar):
    def serve(handler, digest):
        liar.send(handler, LAYER.data, pace=500)
    liar.serve_bytes = serve


def stalls(liar):
    def serve(handler, digest):
        liar.send(handler, LAYER.data, stop_after=1000)
        liar.hang()
    liar.serve_bytes = serve


def silent(liar):
    def serve(handler, digest):
        liar.hang()
    liar.serve_bytes = serve


def silent_map(liar):
    def serve_map(handler, digest, query):
        liar.hang()
    liar.serve_map = serve_map


def cuts(liar):
    def serve(handler, digest):
        liar.send(handler, LAYER.data, stop_after=1000)
        handler.close_connection = True
    liar.serve_bytes = serve


def resets(liar):
    def serve(handler, digest):
        liar.send(handler, LAYER.data, stop_after=1000)
        liar.reset(handler)
    liar.serve_bytes = serve


def too_many_bytes(liar):
    def serve(handler, digest):
        handler.answer(206, LAYER.data, "application/octet-stream")
    liar.serve_bytes = serve


def whole_instead_of_range(liar):
    def serve(handler, digest):
        handler.answer(200, LAYER.data, "application/octet-stream")
    liar.serve_bytes = serve


def other_range(liar):
    def serve(handler, digest):
        handler.headers.replace_header("Range", "bytes=0-65535")
        liar.send(handler, LAYER.data)
    liar.serve_bytes = serve


def errors(liar):
    def serve(handler, digest):
        handler.answer(500, {"error": "no"})
    liar.serve_bytes = serve


def busy(liar):
    def serve(handler, digest):
        handler.answer(503, {"error": "later"})
    liar.serve_bytes = serve


def map_lie(**changes):
    """A map with members that are out of bounds or of another type."""
    def install(liar):
        document = {**liar.map_document(LAYER), **changes}

        def serve_map(handler, digest, query):
            handler.answer(200, document)
        liar.serve_map = serve_map
    return install


def map_body(body):
    def install(liar):
        def serve_map(handler, digest, query):
            handler.answer(200, body)
        liar.serve_map = serve_map
    return install


LIES = {
    "wrong bytes": wrong_bytes, "one wrong byte": one_wrong_byte,
    "consistent lie": consistent_lie, "wrong chain": wrong_chain,
    "late wrong chain": late_wrong_chain, "wrong size": wrong_size,
    "holds nothing": holds_nothing, "has no map": has_no_map, "slow": slow, "stalls": stalls,
    "silent": silent, "silent map": silent_map, "cuts": cuts, "resets": resets,
    "too many bytes": too_many_bytes, "whole instead of range": whole_instead_of_range,
    "other range": other_range, "errors": errors, "busy": busy,
    "huge size": map_lie(size=1 << 60), "negative size": map_lie(size=-1),
    "odd piece": map_lie(piece=65537), "tiny piece": map_lie(piece=64),
    "zero piece": map_lie(piece=0), "text size": map_lie(size="big"),
    "have too far": map_lie(have="0-999999"), "have backwards": map_lie(have="9-0"),
    "have not text": map_lie(have=[1, 2]), "short chain": map_lie(chain="AAAA"),
    "long chain": map_lie(chain="A" * 400_000), "no JSON": map_body(b"\x00\x01{"),
    "deep JSON": map_body(b"[" * 200_000), "empty": map_body(b""),
    "array": map_body(b"[]"),
}


def setting(rig, liar, lie, honest, **sections):
    """An agent that knows the liar, and an honest peer or else an upstream."""
    registry = rig.registry()
    registry.push(IMAGE)
    # The same pieces as the honest peer's, or else one of the two would not be asked.
    peer = liar([LAYER], piece=piece_of(LAYER.size) if honest else (64 << 10))
    lie(peer)
    index = {"use": ["static"], "static": [peer.endpoint]}
    if honest:
        holder = rig.agent("b", [registry], index={"use": []})
        holder.fill(registry, IMAGE)
        index["static"].append(f"{holder.host.address}:7381")
    a = rig.agent("a", [upstream(registry)], index=index, **sections)
    a.wait_holders(LAYER.digest, 2 if honest else 1)
    if honest:
        registry.stop()
    return registry, peer, a


def get_as_a_runtime(agent, registry):
    """What a client accepts: a body that is cut short is asked for again, from the start."""
    for _ in range(3):
        try:
            return agent.get_blob(registry, IMAGE, LAYER, timeout=60)
        except http.client.IncompleteRead:
            continue
    raise AssertionError("cut short three times")


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_the_upstream_makes_up_for(rig, liar, lie):
    registry, peer, a = setting(rig, liar, lie, honest=False)
    # A lie that fits itself can spoil a body that streams, never complete one.
    answer = get_as_a_runtime(a, registry)
    assert answer.status == 200
    assert answer.body == LAYER.data
    assert answer.seconds < 20
    a.process.require_running()
    assert any("/map" in path for path in peer.requests), "the liar was never asked"


@pytest.mark.parametrize("lie", ["consistent lie", "wrong bytes", "wrong size"])
def test_with_stream_proved_no_byte_of_a_lie_is_seen(rig, liar, lie):
    registry, peer, a = setting(rig, liar, LIES[lie], honest=False, mirror={"stream": "proved"})
    try:
        answer = a.get_blob(registry, IMAGE, LAYER, timeout=60)
    except http.client.IncompleteRead as cut:  # headers went out with a wrong length
        assert cut.partial == b""
        answer = a.get_blob(registry, IMAGE, LAYER, timeout=60)
    assert answer.status == 200
    assert answer.body == LAYER.data


HONEST_LIES = ["wrong bytes", "one wrong byte", "consistent lie", "wrong chain", "late wrong chain",
               "holds nothing", "slow", "stalls", "resets"]


@pytest.mark.parametrize("lie", HONEST_LIES)
def test_an_honest_peer_makes_up_for(rig, liar, lie):
    registry, peer, a = setting(rig, liar, LIES[lie], honest=True)
    answer = a.get_blob(registry, IMAGE, LAYER, timeout=60)
    assert answer.status == 200
    assert answer.body == LAYER.data
    assert answer.seconds < 20
    assert a.bytes()["from_upstream"] == 0
    a.process.require_running()


def test_a_sender_of_wrong_bytes_is_banned_and_not_asked_again(rig, liar):
    registry, peer, a = setting(rig, liar, wrong_bytes, honest=True)
    assert a.get_blob(registry, IMAGE, LAYER, timeout=60).body == LAYER.data
    banned = [entry for entry in a.peers() if entry["id"] == peer.identity.id]
    assert banned and banned[0]["banned_until"]
    asked = len(peer.asked_for_bytes())
    assert 1 <= asked <= 16, "a corrupt piece costs one piece"


def test_an_honest_peer_of_another_make_is_believed(rig, liar):
    registry, peer, a = setting(rig, liar, lambda _: None, honest=False)
    registry.stop()
    answer = a.get_blob(registry, IMAGE, LAYER, timeout=60)
    assert answer.body == LAYER.data
    assert a.bytes()["from_peers"] >= LAYER.size
    assert answer.headers["shoal-source"] == "peers"


KEYS = {
    "no JSON": b"{", "array": b"[]",
    "no keys": b'{"epoch":1,"cursor":1,"reset":false,"more":false}',
    "keys no array": b'{"epoch":1,"cursor":1,"reset":false,"more":false,"keys":{"a":1}}',
    "huge cursor": b'{"epoch":1,"cursor":1e400,"reset":false,"more":false,"keys":[]}',
    "endless": b'{"epoch":1,"cursor":0,"reset":false,"more":true,"keys":[]}',
    "bad digest": b'{"epoch":1,"cursor":1,"reset":false,"more":false,'
                  b'"keys":[{"blob":"x","size":1}]}',
    "bad size": json.dumps({"epoch": 1, "cursor": 1, "reset": False, "more": False,
                            "keys": [{"blob": LAYER.digest, "size": -5}]}).encode(),
    "too many": json.dumps({"epoch": 1, "cursor": 9, "reset": False, "more": False, "keys": [
        {"blob": f"sha256:{number:064x}", "size": 1} for number in range(5000)]}).encode(),
    "too long": b" " * (3 << 20) + b"{}",
    "long name": json.dumps({"epoch": 1, "cursor": 1, "reset": False, "more": False, "keys": [
        {"image": "x" * 100_000, "manifest": LAYER.digest}]}).encode(),
}


def test_inventories_that_lie_do_no_harm(rig, liar):
    """One agent, one liar for each kind of malformed ServeKeys, and an honest peer among them."""
    registry = rig.registry()
    registry.push(IMAGE)
    peers = []
    for number, body in enumerate(KEYS.values()):
        peer = liar([LAYER], port=7400 + number)
        peer.serve_keys = lambda handler, query, body=body: handler.answer(200, body)
        peers.append(peer)
    honest = rig.agent("b", [registry], index={"use": []})
    honest.fill(registry, IMAGE)
    a = rig.agent("a", [registry], index={
        "use": ["static"],
        "static": [peer.endpoint for peer in peers] + [f"{honest.host.address}:7381"]})
    a.wait_holders(LAYER.digest, 1)
    registry.stop()
    assert a.get_blob(registry, IMAGE, LAYER, timeout=60).body == LAYER.data
    for name, peer in zip(KEYS, peers):
        wait_until(f"{name} is asked", lambda peer=peer: any("/keys" in path
                                                             for path in peer.requests))
        assert len(peer.requests) < 400, f"{name} is asked without end"


RECORDS = {
    "no JSON": lambda peer: b"hello",
    "bad signature": lambda peer: {**peer.identity.envelope([peer.endpoint]),
                                   "signature": base64url(b"\0" * 64)},
    "other key": lambda peer: {**peer.identity.envelope([peer.endpoint]),
                               "key": base64url(b"\1" * 32)},
    "expired": lambda peer: peer.identity.envelope([peer.endpoint], lifetime=-5),
    "far future": lambda peer: peer.identity.envelope([peer.endpoint], lifetime=100 * 3600),
    "other room": lambda peer: peer.identity.envelope([peer.endpoint], rooms=["secret"]),
    "version 2": lambda peer: peer.identity.envelope([peer.endpoint], version=2),
    "many endpoints": lambda peer: peer.identity.envelope([f"h{n}:1" for n in range(2000)]),
    "control name": lambda peer: peer.identity.envelope([peer.endpoint], name="a\x1b[31m"),
    "too long": lambda peer: b"{" + b" " * 100_000 + b"}",
}


def test_records_that_lie_are_not_taken(rig, liar):
    peers = []
    for number, make in enumerate(RECORDS.values()):
        peer = liar([LAYER], port=7400 + number)
        peer.envelope = lambda peer=peer, make=make: make(peer)
        peers.append(peer)
    honest = liar([LAYER], port=7450)
    a = rig.agent("a", [], index={
        "use": ["static"], "static": [peer.endpoint for peer in [*peers, honest]]})
    a.wait_holders(LAYER.digest, 1)
    alive = {entry["id"] for entry in a.peers() if entry["state"] == "alive"}
    assert alive == {honest.identity.id}
