"""Upstreams as they are: away, asking for tokens, slow, wrong. One agent, nobody else to ask."""

import base64
import http.client
import json

import pytest

from rig import faulty as fault
from rig.agent import upstream
from rig.image import make_image
from rig.process import wait_until

IMAGE = make_image("team/app", layer_sizes=(6 << 20,))
LAYER = IMAGE.layers[1]


def agent_for(rig, registry, **more):
    registry.add(IMAGE)
    return rig.agent("a", [upstream(registry, **more)])


def test_a_bearer_token_is_fetched_and_kept(rig, faulty):
    registry = faulty(bearer="")
    a = agent_for(rig, registry)
    a.fill(registry, IMAGE)
    assert 1 <= len(registry.asked("/token")) <= 2
    assert "scope=repository" in registry.asked("/token")[0][1]


def test_a_bearer_token_for_a_password_file(rig, faulty):
    registry = faulty(bearer="tester:secret")
    rig.host("a").write("/etc/shoal/password", "secret\n", 0o600)
    a = agent_for(rig, registry, username="tester", password_file="/etc/shoal/password")
    a.fill(registry, IMAGE)
    assert "secret" not in a.log()


def test_a_bearer_token_for_credentials_of_a_docker_config(rig, faulty):
    registry = faulty(bearer="tester:secret")
    pair = base64.b64encode(b"tester:secret").decode()
    rig.host("a").write("/etc/shoal/docker.json",
                        json.dumps({"auths": {registry.name: {"auth": pair}}}), 0o600)
    a = agent_for(rig, registry, docker_config="/etc/shoal/docker.json")
    a.fill(registry, IMAGE)


def test_wrong_credentials_are_a_404_and_one_clear_sentence_in_the_log(rig, faulty):
    registry = faulty(bearer="tester:secret")
    a = agent_for(rig, registry)
    answer = a.get_blob(registry, IMAGE, LAYER)
    assert answer.status == 404
    assert answer.errors()
    wait_until("the log says which registry refused", lambda: registry.name in a.log())


def test_basic_auth_and_a_private_ca(rig):
    registry = rig.registry("secure.test", "secure", tls=True, password="secret")
    registry.push(IMAGE)
    rig.host("a").write("/etc/shoal/password", "secret", 0o600)
    a = rig.agent("a", [upstream(registry, username="tester",
                                 password_file="/etc/shoal/password")])
    a.fill(registry, IMAGE)


def test_an_unknown_ca_is_refused_unless_insecure(rig):
    registry = rig.registry("secure.test", "secure", tls=True)
    registry.push(IMAGE)
    a = rig.agent("a", [{"host": registry.name, "url": registry.url}])
    assert a.get_blob(registry, IMAGE, LAYER).status in (404, 503)
    b = rig.agent("b", [{"host": registry.name, "url": registry.url, "insecure": True}],
                  room={"open": False})
    assert b.get_blob(registry, IMAGE, LAYER).body == LAYER.data


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_to_another_host_drops_the_credentials(rig, faulty, code):
    registry = faulty(bearer="")
    store = faulty("store.test", host="store")
    store.add(IMAGE)
    registry.faults.append(fault.redirect(store.url, code))
    a = agent_for(rig, registry)
    answer = a.get_blob(registry, IMAGE, LAYER)
    assert answer.status == 200
    assert answer.body == LAYER.data
    asked = store.asked("/blobs/")
    assert asked
    assert all("Authorization" not in headers for _, _, headers in asked)


def test_ranges_of_a_blob_go_where_the_registry_redirected_to(rig, faulty):
    image = make_image("team/large", layer_sizes=(64 << 20,))
    registry = faulty()
    store = faulty("store.test", host="store")
    registry.add(image)
    store.add(image)
    registry.faults.append(fault.redirect(store.url))
    store.faults.append(fault.slow(8 << 20))  # each connection; so further ones are worth while
    a = agent_for(rig, registry)
    layer = image.layers[-1]
    answer = a.get_blob(registry, image, layer, timeout=60)
    assert answer.body == layer.data
    assert len(store.asked(layer.digest)) > 3
    assert len(registry.asked(layer.digest)) == 1


@pytest.mark.parametrize("name, make", [
    ("429", lambda: fault.status(429, {"Retry-After": "1"}, times=1)),
    ("500", lambda: fault.status(500, times=1)),
    ("503", lambda: fault.status(503, times=1)),
    ("truncated", lambda: fault.truncated(3 << 20, times=1)),
    ("reset", lambda: fault.reset_after(3 << 20, times=1)),
], ids=lambda value: value if isinstance(value, str) else "")
def test_trouble_that_passes_is_not_seen_by_the_runtime(rig, faulty, name, make):
    registry = faulty()
    a = agent_for(rig, registry)
    registry.faults.append(make())
    answer = a.get_blob(registry, IMAGE, LAYER, timeout=60)
    assert answer.status == 200
    assert answer.body == LAYER.data
    wait_until("it is in the store", lambda: a.has_blob(LAYER.digest))


@pytest.mark.parametrize("make", [
    lambda: fault.status(401), lambda: fault.status(403), lambda: fault.status(429),
    lambda: fault.status(500), lambda: fault.status(502), lambda: fault.truncated(0),
], ids=["401", "403", "429", "500", "502", "closes"])
def test_trouble_that_stays_moves_the_runtime_on(rig, faulty, make):
    registry = faulty()
    a = agent_for(rig, registry)
    registry.faults.append(make())
    answer = a.get_blob(registry, IMAGE, LAYER, timeout=60)
    assert answer.status in (404, 503)
    assert answer.errors()
    a.process.require_running()


def test_wrong_bytes_for_ever_never_complete_a_body(rig, faulty):
    registry = faulty()
    a = agent_for(rig, registry)
    registry.faults.append(fault.wrong_byte(4 << 20))
    connection, response = a.open_blob(registry, IMAGE, LAYER)
    received = b""
    if response.status == 200:
        try:
            received = response.read()
        except Exception as cut:
            received = getattr(cut, "partial", b"")
    assert len(received) < LAYER.size, "a wrong body was completed"
    connection.close()
    assert not a.has_blob(LAYER.digest)
    registry.faults.clear()
    wait_until("it has given up", lambda: a.status()["pulls"]["active"] == 0)
    answer = a.get_blob(registry, IMAGE, LAYER, timeout=60)
    assert answer.body == LAYER.data


def test_a_wrong_byte_once_spoils_a_body_at_most(rig, faulty):
    registry = faulty()
    a = agent_for(rig, registry)
    registry.faults.append(fault.wrong_byte(4 << 20, times=1))
    try:
        assert a.get_blob(registry, IMAGE, LAYER, timeout=60).body == LAYER.data
    except http.client.IncompleteRead:
        pass  # what had been sent was wrong: cut short
    assert a.get_blob(registry, IMAGE, LAYER, timeout=60).body == LAYER.data


def test_a_wrong_byte_once_is_not_seen_with_stream_proved(rig, faulty):
    registry = faulty()
    registry.add(IMAGE)
    a = rig.agent("a", [upstream(registry)], mirror={"stream": "proved"})
    registry.faults.append(fault.wrong_byte(4 << 20, times=1))
    assert a.get_blob(registry, IMAGE, LAYER, timeout=60).body == LAYER.data


def test_wrong_bytes_with_stream_proved_send_nothing(rig, faulty):
    registry = faulty()
    registry.add(IMAGE)
    a = rig.agent("a", [upstream(registry)], mirror={"stream": "proved"})
    registry.faults.append(fault.wrong_byte(4 << 20))
    try:
        assert a.get_blob(registry, IMAGE, LAYER, timeout=60).status in (404, 502, 503)
    except http.client.IncompleteRead as cut:
        assert cut.partial == b""
    registry.faults.clear()
    assert a.get_blob(registry, IMAGE, LAYER, timeout=60).body == LAYER.data


def test_a_slow_upstream_is_waited_for_while_it_moves(rig, faulty):
    registry = faulty()
    a = agent_for(rig, registry)
    registry.faults.append(fault.slow(3 << 20))
    answer = a.get_blob(registry, IMAGE, LAYER, timeout=60)
    assert answer.body == LAYER.data
    assert answer.first_byte < answer.seconds / 2, "bytes are sent on while they arrive"


def test_a_silent_upstream_is_given_up_inside_a_bound(rig, faulty):
    registry = faulty()
    a = agent_for(rig, registry)
    registry.faults.append(fault.silent(120))
    answer = a.get_blob(registry, IMAGE, LAYER, timeout=100)
    assert answer.status in (404, 503)
    assert answer.seconds < 60


def test_an_upstream_that_is_away_is_an_answer_at_once(rig, faulty):
    registry = faulty()
    a = agent_for(rig, registry)
    registry.close()
    answer = a.get_blob(registry, IMAGE, LAYER)
    assert answer.status in (404, 503)
    assert answer.errors()
    assert answer.seconds < 10


def test_a_manifest_with_wrong_bytes_is_refused(rig, faulty):
    registry = faulty()
    a = agent_for(rig, registry)
    registry.faults.append(fault.wrong_byte(5, manifests=True, blobs=False))
    answer = a.get_manifest(registry, IMAGE, IMAGE.manifest.digest)
    assert answer.status in (404, 502, 503)


def test_a_tag_is_asked_by_head_and_kept_for_its_ttl(rig, faulty):
    registry = faulty()
    a = agent_for(rig, registry, tag_ttl="60s")
    for _ in range(5):
        answer = a.get_manifest(registry, IMAGE)
        assert answer.headers["docker-content-digest"] == IMAGE.top.digest
    path = f"/manifests/{IMAGE.tag}"
    assert len(registry.asked(path)) == len(registry.asked(path, "HEAD")) == 1


def test_a_tag_that_moved_is_seen_after_its_ttl(rig, faulty):
    registry = faulty()
    a = agent_for(rig, registry, tag_ttl="500ms")
    assert a.get_manifest(registry, IMAGE).body == IMAGE.top.data
    newer = registry.add(make_image("team/app", tag="2"))
    registry.set_tag(IMAGE.repository, IMAGE.tag, newer.top)
    wait_until("the new image is seen",
               lambda: a.get_manifest(registry, IMAGE).body == newer.top.data)


def test_the_last_known_tag_is_answered_with_a_warning_when_the_upstream_is_away(rig, faulty):
    registry = faulty()
    a = agent_for(rig, registry, tag_ttl="100ms")
    fresh = a.get_manifest(registry, IMAGE)
    assert "warning" not in fresh.headers
    registry.close()
    wait_until("the tag's time is over",
               lambda: "warning" in a.get_manifest(registry, IMAGE).headers)
    answer = a.get_manifest(registry, IMAGE, method="HEAD")
    assert answer.status == 200
    assert answer.headers["docker-content-digest"] == IMAGE.top.digest


def test_a_tag_that_was_deleted_is_not_last_known_after_a_restart(rig, faulty):
    registry = faulty()
    a = agent_for(rig, registry, tag_ttl="100ms")
    a.fill(registry, IMAGE)
    registry.set_tag(IMAGE.repository, IMAGE.tag, None)
    wait_until("the tag is gone", lambda: a.get_manifest(registry, IMAGE).status == 404)
    assert all(image["name"] != f"{registry.name}/{IMAGE.repository}:{IMAGE.tag}"
               for image in a.get("/v1/images"))
    registry.close()
    for _ in range(2):
        answer = a.get_manifest(registry, IMAGE)
        assert answer.status == 503, answer
        a.stop()
        a.start()
    assert a.get_manifest(registry, IMAGE, IMAGE.top.digest).status == 200


def test_a_tag_is_known_from_peers_when_the_upstream_is_away(rig, faulty):
    registry = faulty()
    a = agent_for(rig, registry)
    b = rig.agent("b", [upstream(registry)])
    a.fill(registry, IMAGE)
    for digest in (IMAGE.top.digest, IMAGE.manifest.digest, LAYER.digest):
        b.wait_holders(digest, 1)
    registry.close()
    answer = b.get_manifest(registry, IMAGE)
    assert answer.status == 200
    assert answer.body == IMAGE.top.data
    assert "warning" in answer.headers
    assert "peers" in answer.headers["shoal-source"]


def test_a_registry_that_is_slow_per_connection_is_asked_by_several(rig, faulty):
    registry = faulty()
    image = registry.add(make_image("team/ranged", layer_sizes=(64 << 20,)))
    registry.faults = [fault.slow(10_000_000)]
    agent = rig.agent("a", [registry])
    blob = image.layers[-1]
    answer = agent.get_blob(registry, image, blob, timeout=120)
    assert answer.status == 200 and answer.body == blob.data
    asked = [headers.get("Range", "") for _, _, headers in registry.asked(blob.digest, "GET")]
    assert asked[0] == "" and len(asked) >= 3
    assert all(part.startswith("bytes=") for part in asked[1:]), asked
    # What the first connection had under way when it was cut is all that came twice.
    assert registry.sent <= blob.size + (4 << 20)
    assert agent.bytes()["from_upstream"] == blob.size
