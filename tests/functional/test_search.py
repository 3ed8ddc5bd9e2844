"""Search: what one host pulled another finds, without a message."""

import json
import time

import pytest

from rig import web
from rig.identity import Identity, base64url
from rig.image import make_image
from rig.process import wait_until
from rig.room import make_room, said


def search(agent, *words):
    """(exit status, the answer) of `shoal search --json`."""
    done = agent.verb("search", "--json", *words)
    return done.returncode, json.loads(done.stdout) if done.stdout else None


def pull(agent, reference):
    agent.verb("pull", reference, check=True)


def names(agent, *words):
    status, answer = search(agent, *words)
    return [image["name"] for image in answer["images"]] if status == 0 else []


def test_an_image_pulled_on_one_host_is_found_on_others_with_the_network_off(rig):
    image = make_image("team/web-app", layer_sizes=(1 << 20, 30_000))
    other = make_image("team/database", layer_sizes=(20_000,))
    registry = rig.registry()
    registry.push(image)
    registry.push(other)
    a, b, c = (rig.agent(name, [registry]) for name in "abc")
    reference, other_reference = registry.reference(image), registry.reference(other)
    pull(a, reference)
    pull(b, reference)
    pull(a, other_reference)

    def known():
        answer = c.get("/v1/search?q=web-app")["images"]
        return answer and answer[0]["holders"] == 2 and answer[0]["platforms"]
    wait_until("c knows both holders and the platform", known)
    wait_until("c knows the other image", lambda: names(c, "database", "arch:amd64"))
    c.host.link(False)
    for agent in (a, b):
        agent.kill()

    status, answer = search(c, "team/web-app")
    assert status == 0 and answer["whole"] and answer["next"] == ""
    (found,) = answer["images"]
    assert found["name"] == reference
    assert found["digest"] == image.top.digest
    assert found["holders"] == 2 and not found["here"]
    assert found["match"] == "exact"
    assert found["platforms"] == ["linux/amd64"]
    parts = [image.top, image.manifest, *image.blobs]
    assert found["size"] == sum(part.size for part in parts)
    assert names(c, "web") == [reference]
    assert names(c, "app", "team") == [reference]
    assert names(c, f"{registry.name}/team/*:1*", "arch:amd64") == [reference, other_reference]
    assert names(c, image.top.digest[:20]) == [reference]
    assert names(c, "arch:s390x") == []
    assert names(c, "no-such-image") == []
    nothing = c.verb("search", "no-such-image")
    assert nothing.returncode == 1 and "no-such-image" in nothing.stderr
    assert search(c, "size:5")[0] == 2

    # Page by page.
    first = c.get("/v1/search?q=team&limit=1")
    second = c.get(f"/v1/search?q=team&limit=1&after={first['next']}")
    assert [page["images"][0]["name"] for page in (first, second)] == [reference, other_reference]
    assert second["next"] == ""
    assert c.admin("GET", "/v1/search?q=team&limit=0").status == 400
    assert c.admin("GET", "/v1/search?q=team&after=nonsense").status == 400
    assert c.admin("GET", "/v1/search").status == 400


def test_a_restarted_agent_searches_what_it_last_knew(rig):
    image = make_image("team/web-app", layer_sizes=(30_000,))
    registry = rig.registry()
    registry.push(image)
    a, b = (rig.agent(name, [registry]) for name in "ab")
    pull(a, registry.reference(image))
    wait_until("b knows it", lambda: names(b, "web-app"))
    b.kill()
    a.kill()
    b.start()
    wait_until("b finds it again", lambda: names(b, "web-app") == [registry.reference(image)])


def test_what_is_here_is_found_and_goes_with_its_tag(rig):
    image = make_image("team/web-app", layer_sizes=(30_000,))
    registry = rig.registry()
    registry.push(image)
    agent = rig.agent("a", [registry])
    pull(agent, registry.reference(image))
    (found,) = search(agent, "web-app")[1]["images"]
    assert found["here"] and found["holders"] == 0
    assert agent.metrics()["shoal_search_images"] == 1


def test_the_table_is_for_people(rig):
    image = make_image("team/web-app", layer_sizes=(30_000,))
    registry = rig.registry()
    registry.push(image)
    agent = rig.agent("a", [registry])
    pull(agent, registry.reference(image))
    table = agent.verb("search", "web").stdout
    assert table.split("\n")[0].split() == ["IMAGE", "DIGEST", "SIZE", "PLATFORMS", "HERE",
                                            "HOLDERS"]
    assert registry.reference(image) in table


def test_an_index_server_finds_the_images_of_the_open_room_and_no_others(rig):
    image, secret = (make_image(name, layer_sizes=(20_000,))
                     for name in ("team/web-app", "secret/web-app"))
    registry = rig.registry()
    registry.push(image)
    registry.push(secret)
    reference, hidden = registry.reference(image), registry.reference(secret)
    server = rig.index_server("server", rendezvous={"search": True})
    use = {"use": ["rendezvous"], "rendezvous": [f"https://{server.host.address}:7383"]}
    room = make_room(rig, "member", [registry], index=use)
    opened = rig.agent("open", [registry], index=use)
    both = rig.agent("both", [registry], start=False, index=use, share=[
        {"repositories": [f"{registry.name}/team/*"], "room": "open"},
        {"repositories": [f"{registry.name}/secret/*"], "room": "team-a"}])
    said(both, "join", room.token())
    both.start()
    pull(room.owner, hidden)
    pull(both, hidden)  # so that it comes first in what `both` shows
    pull(opened, reference)
    pull(both, reference)
    wait_until("the member finds it at the other",
               lambda: room.owner.get("/v1/search?q=secret")["images"][0]["holders"] == 1)

    def hits(words):
        return server.get(f"/v1/search?q={words}")["images"]
    wait_until("the server has read both hosts of the open room",
               lambda: [hit["holders"] for hit in hits("web-app")] == [2], 90)
    (found,) = hits("web-app")
    assert found["name"] == reference and found["digest"] == image.top.digest
    assert not found["here"]
    assert len(server.get("/v1/peers")) == 3  # it knows of the member, and reads nothing there
    assert "shoal_index_read_peers 2" in server.admin("GET", "/metrics").body.decode()
    assert hits("secret") == [] and hits(secret.top.digest[:20]) == []

    # The same for people, on its host and on others.
    assert names(server, "team/web-app") == [reference]
    url = f"https://{server.host.address}:7383"

    def asked(*words):
        done = opened.verb("search", "--json", "--index", *words)
        return done.returncode, json.loads(done.stdout) if done.stdout else None
    status, answer = asked(url, "web")
    assert status == 0 and [hit["name"] for hit in answer["images"]] == [reference]
    assert asked(f"{url}#{said(server, 'id').split()[0]}", "secret")[1]["images"] == []
    assert asked(f"{url}#{said(opened, 'id').split()[0]}", "web")[0] != 0
    assert asked(url, "size:5")[0] == 2 and asked("http://server:7383", "web")[0] == 2


def test_an_index_server_does_not_search_unasked(rig):
    server = rig.index_server("server")
    assert server.admin("GET", "/v1/search?q=web").status == 404
    asked = server.verb("search", "--index", "https://127.0.0.1:7383", "web")
    assert asked.returncode == 1 and "rendezvous.search" in asked.stderr


def test_an_index_server_dials_nothing_that_is_its_own(rig):
    """What strangers register may name the server's loopback, or its link's metadata service."""
    server = rig.index_server("server", rendezvous={"search": True})
    server.host.run("ip", "address", "add", "169.254.169.254/32", "dev", "lo")
    stranger = rig.host("stranger")
    own = {address: server.host.listen(9000, address) for address in
           ("127.0.0.1", "169.254.169.254")}
    foreign = stranger.listen(9000, stranger.address)

    def register(name, endpoint):
        identity = Identity(stranger.folder / name)
        words = json.dumps({"verb": "register", "server": said(server, "id"),
                            "sent": int(time.time() * 1000), "namespaces": ["room/open"],
                            "ttl_s": 300}).encode()
        body = json.dumps({"request": base64url(words), "record": identity.envelope([endpoint]),
                           "signature": base64url(identity.sign(b"shoal-rendezvous-v1\n" + words))})
        answer = web.request(stranger, 7383, "POST", "/v1/register", body=body,
                             address=server.host.address,
                             context=web.insecure_context(identity.certificate, identity.key))
        assert answer.json()["status"] == "OK", answer

    for number, endpoint in enumerate(("127.0.0.1:9000", "169.254.169.254:9000", "[::1]:9000",
                                       "[::ffff:127.0.0.1]:9000", "localhost:9000")):
        register(f"liar{number}", endpoint)
    register("foreign", f"{stranger.address}:9000")
    foreign.settimeout(60)
    # The server dials what comes later, so it has looked at the others.
    foreign.accept()[0].close()
    foreign.close()
    for address, listener in own.items():
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
        listener.close()
