"""The mirror as a runtime sees it: paths, ranges, refusals, headers."""

import json

import pytest

from rig import web
from rig.image import make_image

IMAGE = make_image("team/app", layer_sizes=(3 << 20,))
LAYER = IMAGE.layers[1]
ABSENT = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def warm(shared):
    """(registry, agent that holds the image); and another agent that knows it."""
    registry = shared.registry()
    registry.push(IMAGE)
    agent = shared.agent("a", [registry])
    agent.fill(registry, IMAGE)
    return registry, agent


def test_ping(warm):
    _, agent = warm
    answer = agent.mirror("GET", "/v2/")
    assert answer.status == 200


@pytest.mark.parametrize("form", [
    "/v2/{name}/blobs/{digest}?ns={ns}",
    "/v2/{name}/blobs/{digest}?ns={ns}&x=1",
    "/v2/{ns}/{name}/blobs/{digest}",
])
def test_forms_of_a_path(warm, form):
    registry, agent = warm
    path = form.format(name=IMAGE.repository, digest=LAYER.digest, ns=registry.name)
    answer = agent.mirror("GET", path)
    assert answer.status == 200
    assert answer.body == LAYER.data
    assert answer.headers["shoal-source"] == "local"
    assert answer.headers["docker-content-digest"] == LAYER.digest
    assert answer.headers["content-type"]
    assert "content-encoding" not in answer.headers


def test_ns_is_answered(warm):
    registry, agent = warm
    answer = agent.get_blob(registry, IMAGE, LAYER)
    assert answer.headers["oci-namespace"] == registry.name


@pytest.mark.parametrize("accept", ["gzip", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5"])
def test_no_encoding_whatever_is_accepted(warm, accept):
    registry, agent = warm
    answer = agent.get_blob(registry, IMAGE, LAYER, {"Accept-Encoding": accept})
    assert "content-encoding" not in answer.headers
    assert answer.body == LAYER.data


def test_head_of_a_blob_and_of_manifests(warm):
    registry, agent = warm
    blob = agent.mirror("HEAD", f"/v2/{IMAGE.repository}/blobs/{LAYER.digest}", registry.name)
    assert blob.status == 200
    assert int(blob.headers["content-length"]) == LAYER.size
    assert blob.headers["docker-content-digest"] == LAYER.digest
    for reference, manifest in ((IMAGE.tag, IMAGE.top), (IMAGE.manifest.digest, IMAGE.manifest)):
        answer = agent.get_manifest(registry, IMAGE, reference, method="HEAD")
        assert answer.status == 200
        assert answer.headers["content-type"] == manifest.media_type
        assert answer.headers["docker-content-digest"] == manifest.digest
        assert int(answer.headers["content-length"]) == manifest.size


@pytest.mark.parametrize("wanted, first, last", [
    ("bytes=0-0", 0, 0),
    ("bytes=100-199", 100, 199),
    ("bytes=1048570-1048590", 1048570, 1048590),
    ("bytes=1000000-", 1000000, None),
    ("bytes=-500", -500, None),
    ("bytes=-999999999", 0, None),
    ("bytes=5-999999999", 5, None),
])
def test_ranges(warm, wanted, first, last):
    registry, agent = warm
    answer = agent.get_blob(registry, IMAGE, LAYER, {"Range": wanted})
    begin = first if first >= 0 else LAYER.size + first
    end = LAYER.size if last is None else last + 1
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{LAYER.size}"
    assert answer.body == LAYER.data[begin:end]


def test_ranges_of_a_manifest(warm):
    registry, agent = warm
    answer = agent.mirror("GET", f"/v2/{IMAGE.repository}/manifests/{IMAGE.manifest.digest}",
                          registry.name, {"Range": "bytes=10-"})
    assert answer.status == 206
    assert answer.body == IMAGE.manifest.data[10:]


def test_several_ranges_at_once(warm):
    registry, agent = warm
    answer = agent.get_blob(registry, IMAGE, LAYER, {"Range": "bytes=0-9,100-109,-5"})
    assert answer.status == 206
    kind, boundary = answer.headers["content-type"].split("boundary=")
    assert kind.startswith("multipart/byteranges")
    parts = answer.body.split(b"--" + boundary.strip('"').encode())
    bodies = [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in parts[1:-1]]
    assert bodies == [LAYER.data[0:10], LAYER.data[100:110], LAYER.data[-5:]]


@pytest.mark.parametrize("wanted", [f"bytes={LAYER.size}-", "bytes=999999999-", "bytes=-0"])
def test_ranges_outside_the_blob(warm, wanted):
    registry, agent = warm
    answer = agent.get_blob(registry, IMAGE, LAYER, {"Range": wanted})
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{LAYER.size}"


@pytest.mark.parametrize("wanted", [
    "bytes=abc", "bytes=5-2", "bytes=--5", "lines=1-2", "bytes=", "bytes=1-2-3",
    "bytes=99999999999999999999999-", "bytes=0-0," * 2000 + "0-0"])
def test_malformed_ranges_are_ignored_or_refused(warm, wanted):
    registry, agent = warm
    answer = agent.get_blob(registry, IMAGE, LAYER, {"Range": wanted})
    # RFC 9110: a server may ignore a Range it does not understand.
    assert answer.status in (200, 400, 416, 431)
    if answer.status == 200:
        assert answer.body == LAYER.data


@pytest.mark.parametrize("path, codes", [
    ("/v2/Team/app/blobs/" + ABSENT, {"NAME_INVALID"}),
    ("/v2/team//app/blobs/" + ABSENT, {"NAME_INVALID"}),
    ("/v2/team/../app/blobs/" + ABSENT, {"NAME_INVALID"}),
    ("/v2/team/%2e%2e/blobs/" + ABSENT, {"NAME_INVALID"}),
    ("/v2/" + "a" * 300 + "/blobs/" + ABSENT, {"NAME_INVALID"}),
    ("/v2/team/app/blobs/sha256:abc", {"DIGEST_INVALID"}),
    ("/v2/team/app/blobs/sha256:" + "G" * 64, {"DIGEST_INVALID"}),
    ("/v2/team/app/blobs/" + "0" * 64, {"DIGEST_INVALID"}),
    ("/v2/team/app/manifests/" + "t" * 200, {"MANIFEST_INVALID", "TAG_INVALID", "NAME_INVALID"}),
    ("/v2/team/app/manifests/-bad", {"MANIFEST_INVALID", "TAG_INVALID", "NAME_INVALID"}),
    ("/v2/team/app/nothing/here", {"UNSUPPORTED", "NAME_INVALID", "NAME_UNKNOWN"}),
])
def test_malformed_paths_are_refused(warm, path, codes):
    registry, agent = warm
    answer = agent.mirror("GET", path, registry.name)
    assert answer.status in (400, 404)
    assert set(answer.errors()) & (codes | {"MANIFEST_UNKNOWN"} if answer.status == 404 else codes)


REFUSED = {
    "no HTTP": (b"rubbish\r\n\r\n", 400),
    "a head too large": (b"GET /v2/ HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    "a target too long": (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n", 414),
    "a body too large": (b"PUT /v2/ HTTP/1.1\r\nContent-Length: 100000\r\n\r\nabc", 413),
}


def check_refusal(received, status):
    head, body = received.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nShoal-Source: local" in head
    [error] = json.loads(body)["errors"]
    assert error["code"] and error["message"]


@pytest.mark.parametrize("request_, status", REFUSED.values(), ids=REFUSED.keys())
def test_what_never_becomes_a_request_is_refused_as_a_registry_does(warm, request_, status):
    _, agent = warm
    check_refusal(web.raw(agent.host, 7380, request_), status)


def test_a_connection_too_many_is_refused_as_a_registry_does(rig):
    agent = rig.agent("a", limits={"connections": 16})
    kept = [agent.host.connect(7380) for _ in range(16)]
    for connection in kept:  # they count once they are served
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    refusal = web.raw(agent.host, 7380, b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")
    for connection in kept:
        connection.close()
    check_refusal(refusal, 503)
    assert b"\r\nRetry-After: 1" in refusal


@pytest.mark.parametrize("digest", [
    "sha512:" + "0" * 128, "blake3:" + "0" * 64,
    "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564"])
def test_other_digest_algorithms_do_no_harm(warm, digest):
    registry, agent = warm
    answer = agent.mirror("GET", f"/v2/{IMAGE.repository}/blobs/{digest}", registry.name)
    assert answer.status in (400, 404)
    assert answer.errors()


@pytest.mark.parametrize("ns", ["..", "a/b", "%00", "a b", "x" * 300, "host:port", "[::1"])
def test_malformed_ns(warm, ns):
    _, agent = warm
    path = f"/v2/{IMAGE.repository}/blobs/{ABSENT}?ns={ns.replace(' ', '%20')}"
    answer = agent.mirror("GET", path)
    assert answer.status in (400, 404)
    assert answer.errors()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_only_a_registry_does(warm, method):
    registry, agent = warm
    answer = agent.mirror(method, f"/v2/{IMAGE.repository}/blobs/{LAYER.digest}", registry.name)
    assert answer.status == 405
    assert answer.errors() == ["UNSUPPORTED"]
    assert answer.headers["shoal-source"] == "local"


def test_an_unknown_digest_is_a_404_at_once(warm):
    registry, agent = warm
    path = f"/v2/{IMAGE.repository}/blobs/{ABSENT}"
    answers = [agent.mirror("GET", path, registry.name) for _ in range(5)]
    assert {answer.status for answer in answers} == {404}
    assert answers[0].errors() == ["BLOB_UNKNOWN"]
    assert answers[0].headers["shoal-source"] == "upstream"
    assert min(answer.seconds for answer in answers) < 0.1


@pytest.mark.parametrize("reference", ["absent", ABSENT])
def test_an_unknown_manifest_is_a_404_at_once(warm, reference):
    registry, agent = warm
    answers = [agent.get_manifest(registry, IMAGE, reference) for _ in range(5)]
    assert {answer.status for answer in answers} == {404}
    assert answers[0].errors() == ["MANIFEST_UNKNOWN"]
    assert min(answer.seconds for answer in answers) < 0.1


def test_an_unknown_repository(warm):
    registry, agent = warm
    answer = agent.mirror("GET", "/v2/nobody/nothing/manifests/1", registry.name)
    assert answer.status == 404
    assert answer.errors()[0] in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN")


def test_signature_tags_are_a_404_at_once(warm):
    registry, agent = warm
    tag = IMAGE.top.digest.replace(":", "-") + ".sig"
    answers = [agent.get_manifest(registry, IMAGE, tag) for _ in range(5)]
    assert {answer.status for answer in answers} == {404}
    assert min(answer.seconds for answer in answers) < 0.1


@pytest.mark.parametrize("data", [
    b"GET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    b"GET /" + b"v" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
    b"POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
], ids=["no version", "tls", "long header", "long path", "long body", "negative", "chunk"])
def test_garbage_is_refused(warm, data):
    registry, agent = warm
    received = web.raw(agent.host, 7380, data)
    assert not received or b" 4" in received.split(b"\r\n")[0]
    assert agent.mirror("GET", "/v2/").status == 200


def test_a_client_that_goes_away_in_the_middle(warm):
    registry, agent = warm
    for _ in range(20):
        connection, response = agent.open_blob(registry, IMAGE, LAYER)
        response.read(1000)
        connection.close()
    assert agent.get_blob(registry, IMAGE, LAYER).body == LAYER.data


def test_docker_hub_is_meant_when_no_host_is_named(warm):
    _, agent = warm
    # There is no way to Docker Hub from here: what matters is that the agent tried it, and said so.
    answer = agent.mirror("GET", "/v2/library/nginx/manifests/latest", timeout=60)
    assert answer.status in (404, 503)
    assert answer.errors()
