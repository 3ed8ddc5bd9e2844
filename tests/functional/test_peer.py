"""The peer port, as a stranger who has read docs/PROTOCOL.md sees it."""

import base64
import hashlib
import json
import ssl
import subprocess

import pytest

from rig import web
from rig.identity import Identity
from rig.image import make_image
from rig.liar import chain_states
from rig.process import wait_until

IMAGE = make_image("team/app", layer_sizes=(3 << 20,))
LAYER = IMAGE.layers[1]
ABSENT = "sha256:" + "0" * 64
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@pytest.fixture(scope="module")
def peer(shared):
    """get(path, headers): asks an agent that holds the image, as a member of the open room."""
    registry = shared.registry()
    registry.push(IMAGE)
    agent = shared.agent("a", [registry])
    agent.fill(registry, IMAGE)
    stranger = shared.host("stranger")
    identity = Identity(stranger.folder / "identity")
    context = web.insecure_context(identity.certificate, identity.key)

    def get(path, headers=None, method="GET", **options):
        options.setdefault("context", context)
        return web.request(stranger, 7381, method, "/p2p/v1" + path, headers,
                           address=agent.host.address, **options)

    def described():
        keys = get("/keys?epoch=0&after=0&limit=2000").json()["keys"]
        return any("image" in key and "size" in key for key in keys)

    # What an image is made of is read from its manifest a moment after the pull.
    wait_until("the image is described", described)
    get.agent, get.host = agent, stranger
    return get


def unpack(answer):
    """The JSON of an answer that may be compressed."""
    body = answer.body
    if answer.headers.get("content-encoding") == "zstd":
        body = subprocess.run(["zstd", "-dcq"], input=body, capture_output=True, check=True).stdout
    return json.loads(body)


def test_the_record_is_signed_by_the_key_of_the_certificate(peer):
    envelope = peer("/record").json()
    assert set(envelope) >= {"payload", "key", "signature"}
    key = base64.urlsafe_b64decode(envelope["key"] + "==")
    assert hashlib.sha256(key).hexdigest() == peer.agent.status()["id"]


def test_who_asks_for_the_record_may_show_its_own(rig):
    agent = rig.agent("a", index={"use": []})
    host = rig.host("stranger")
    ours, theirs = (Identity(host.folder / name) for name in ("ours", "theirs"))

    def show(record):
        context = web.insecure_context(ours.certificate, ours.key)
        return web.request(host, 7381, "GET", "/p2p/v1/record", {"Shoal-Record": record},
                           address=agent.host.address, context=context)

    endpoint = f"{host.address}:7381"
    forged = {**ours.envelope([endpoint]), "signature": theirs.envelope([endpoint])["signature"]}
    for wrong in (json.dumps(theirs.envelope([endpoint])), json.dumps(forged), "nonsense", "{}"):
        assert show(wrong).status == 400, wrong
    for ignored in (ours.envelope([endpoint], rooms=["other"]),
                    ours.envelope([endpoint], lifetime=-1)):
        assert show(json.dumps(ignored)).status == 200
    assert agent.peers() == []
    assert show(json.dumps(ours.envelope([endpoint], name="shown"))).status == 200
    wait_until("it is known", lambda: [peer["name"] for peer in agent.peers()] == ["shown"])


def test_serve_keys_is_a_snapshot_and_then_increments(peer):
    page = peer("/keys?epoch=0&after=0&limit=2000").json()
    blobs = {key["blob"]: key for key in page["keys"] if "blob" in key and not key.get("gone")}
    for blob in [IMAGE.manifest, *IMAGE.blobs]:
        assert blobs[blob.digest]["size"] == blob.size
    nothing = peer(f"/keys?epoch={page['epoch']}&after={page['cursor']}&limit=2000").json()
    assert nothing["keys"] == []
    assert nothing["cursor"] == page["cursor"]
    assert not nothing["reset"]


def test_serve_keys_is_paged(peer):
    whole = peer("/keys?epoch=0&after=0&limit=2000").json()
    keys, after, epoch = [], 0, 0
    for _ in range(1000):
        page = peer(f"/keys?epoch={epoch}&after={after}&limit=2").json()
        assert len(page["keys"]) <= 2
        keys += page["keys"]
        epoch, after = page["epoch"], page["cursor"]
        if not page["more"]:
            break
    assert keys == whole["keys"]


def test_another_epoch_resets(peer):
    page = peer("/keys?epoch=123456&after=5&limit=10").json()
    assert page["reset"]


def test_serve_keys_is_compressed_when_asked(peer):
    plain = peer("/keys?epoch=0&after=0&limit=2000")
    packed = peer("/keys?epoch=0&after=0&limit=2000", {"Accept-Encoding": "zstd"})
    assert packed.headers["content-encoding"] == "zstd"
    assert packed.body.startswith(ZSTD_MAGIC)
    assert len(packed.body) < len(plain.body)
    assert unpack(packed)["keys"] == plain.json()["keys"]


def test_the_map_of_a_blob_has_its_chain(peer):
    document = peer(f"/blobs/{LAYER.digest}/map").json()
    assert document["size"] == LAYER.size
    pieces = -(-LAYER.size // document["piece"])
    assert document["have"] == f"0-{pieces - 1}"
    chain = base64.urlsafe_b64decode(document["chain"] + "=" * (-len(document["chain"]) % 4))
    assert chain == b"".join(chain_states(LAYER.data, document["piece"]))


def test_ranges_of_bytes(peer):
    answer = peer(f"/blobs/{LAYER.digest}", {"Range": "bytes=1000-1999"})
    assert answer.status == 206
    assert answer.body == LAYER.data[1000:2000]
    last = peer(f"/blobs/{LAYER.digest}", {"Range": f"bytes={LAYER.size - 10}-{LAYER.size - 1}"})
    assert last.body == LAYER.data[-10:]


@pytest.mark.parametrize("wanted", [
    None, "bytes=0-", "bytes=-5", "bytes=0-1,5-6", f"bytes=0-{LAYER.size}", "bytes=9-3",
    "bytes=99999999999999999999-99999999999999999999", "pieces=0-1"])
def test_other_ranges_are_416(peer, wanted):
    answer = peer(f"/blobs/{LAYER.digest}", {"Range": wanted} if wanted else None)
    assert answer.status in (400, 416)
    assert answer.json()["error"]


@pytest.mark.parametrize("path", [f"/blobs/{ABSENT}", f"/blobs/{ABSENT}/map"])
def test_what_is_not_here_is_404(peer, path):
    answer = peer(path, {"Range": "bytes=0-1"})
    assert answer.status == 404
    assert answer.json()["error"]


@pytest.mark.parametrize("path", [
    "/", "/nothing", "/blobs/", "/blobs/sha256:xyz", "/blobs/../../etc/passwd",
    "/blobs/%2e%2e%2f/map", "/keys?epoch=-1&after=0", "/keys?epoch=x&after=0&limit=1",
    "/keys?epoch=0&after=99999999999999999999", "/keys?limit=-5&epoch=0&after=0",
    "/blobs/" + "s" * 5000, f"/blobs/{LAYER.digest}/map?known=x",
    f"/blobs/{LAYER.digest}/map?known=1&wait_ms=-1"])
def test_malformed_requests_are_refused(peer, path):
    answer = peer(path, {"Range": "bytes=0-1"})
    assert 400 <= answer.status < 500
    assert answer.json()["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(peer, method):
    assert 400 <= peer("/record", method=method).status < 500


def test_nobody_gets_in_without_a_certificate(peer):
    with pytest.raises(OSError):
        peer("/record", context=web.insecure_context())
        raise AssertionError("it answered")


def test_no_tls_below_1_3(peer):
    context = web.insecure_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError):
        peer("/record", context=context)


def test_plain_http_and_garbage_do_no_harm(peer):
    address = peer.agent.host.address
    request = b"GET /p2p/v1/record HTTP/1.1\r\nHost: a\r\n\r\n"
    for data in (request, b"\0" * 1000, b"\x16\x03\x01" * 9):
        web.raw(peer.host, 7381, data, address=address, timeout=3)
    assert peer("/record").status == 200


def test_a_closed_agent_tells_a_stranger_nothing_but_its_record(rig):
    closed = rig.agent("a", [], room={"open": False})
    stranger = rig.host("stranger")
    identity = Identity(stranger.folder / "identity")
    context = web.insecure_context(identity.certificate, identity.key)
    for path in ("/keys?epoch=0&after=0&limit=1", "/peers", f"/blobs/{LAYER.digest}/map",
                 f"/blobs/{LAYER.digest}"):
        try:
            answer = web.request(stranger, 7381, "GET", "/p2p/v1" + path, {"Range": "bytes=0-1"},
                                 address=closed.host.address, context=context)
        except ConnectionRefusedError:
            continue  # it need not even listen
        assert answer.status == 403, path
