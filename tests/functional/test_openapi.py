"""The status API does what /openapi.json says, and tells what happens."""

import contextlib
import json
import re

import pytest

from rig import web
from rig.agent import ADMIN, ROOT
from rig.image import make_image
from rig.process import wait_until

IMAGE = make_image("team/app")


@pytest.fixture(scope="module")
def pair(shared):
    """(registry, an agent that has pulled, another that knows it)."""
    registry = shared.registry()
    registry.push(IMAGE)
    a, b = (shared.agent(name, [registry]) for name in "ab")
    assert a.verb("pull", registry.reference(IMAGE), timeout=60).returncode == 0
    for blob in (IMAGE.top, *IMAGE.blobs):
        b.wait_holders(blob.digest, 1)
    a.wait_peers(1)
    wait_until("b knows the image's name",
               lambda: b.verb("who-has", registry.reference(IMAGE)).returncode == 0)
    return registry, a, b


class Checker:
    """As much of JSON Schema as the document uses; strict about members it does not name."""

    def __init__(self, document):
        self.schemas = document["components"]["schemas"]

    def check(self, schema, value, where):
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/components/schemas/")
            return self.check(self.schemas[name], value, f"{where}<{name}>")
        if "oneOf" in schema:
            return self.check_one_of(schema["oneOf"], value, where)
        if value is None:
            assert schema.get("nullable"), where
            return None
        kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool,
                 "object": dict, "array": list}
        kind = schema["type"]
        assert isinstance(value, kinds[kind]), (where, value)
        assert kind == "boolean" or not isinstance(value, bool), (where, value)
        assert "enum" not in schema or value in schema["enum"], (where, value)
        assert "pattern" not in schema or re.search(schema["pattern"], value), (where, value)
        if kind == "array":
            for item in value:
                self.check(schema["items"], item, where + "[]")
        if "properties" in schema:
            assert set(value) == set(schema["required"]) == set(schema["properties"]), where
            for name, of in schema["properties"].items():
                self.check(of, value[name], f"{where}.{name}")
        return None

    def check_one_of(self, schemas, value, where):
        fitting = 0
        for schema in schemas:
            try:
                self.check(schema, value, where)
                fitting += 1
            except AssertionError:
                pass
        assert fitting == 1, (where, value)


def test_every_path_answers_as_it_is_described(pair):
    registry, *agents = pair
    document = agents[0].get("/openapi.json")
    assert document["openapi"].startswith("3.0")
    checker = Checker(document)
    reference = registry.reference(IMAGE)
    begun = agents[0].admin("POST", "/v1/preheats", body=json.dumps({"image": reference}))
    assert begun.status == 202, begun
    wait_until("b has heard", lambda: agents[1].get("/v1/rooms/open/feed"))
    fill = {"{digest}": IMAGE.blobs[0].digest, "/pulls/{id}": "/pulls/1",
            "/rooms/{id}": "/rooms/open", "/preheats/{id}": f"/preheats/{begun.json()['id']}"}
    of_a_alone = ("/v1/pulls/{id}", "/v1/preheats/{id}")
    query = {"/v1/search": "?q=app", "/v1/who-has": f"?what={IMAGE.blobs[0].digest}&resolve=1"}
    checked = set()
    for path, operations in document["paths"].items():
        if "get" not in operations or path == "/v1/events":
            continue
        kind, content = next(iter(operations["get"]["responses"]["200"]["content"].items()))
        for agent in agents:
            target = path + query.get(path, "")
            for old, new in fill.items():
                target = target.replace(old, new)
            answer = agent.admin("GET", target)
            if agent is agents[1] and path in of_a_alone:
                assert answer.status == 404  # b pulled nothing, and said nothing
                checker.check({"$ref": "#/components/schemas/Error"}, answer.json(), path)
                continue
            assert answer.status == 200, target
            assert answer.headers["content-type"].startswith(kind), target
            if kind == "application/json":
                checker.check(content["schema"], answer.json(), path)
            checked.add(path)
    # Nothing that the operators' page lists is left out, nor the other way round.
    documented = (ROOT / "docs/OPERATING.md").read_text()
    listed = {re.sub(r"ID|DIGEST", lambda name: "{" + name[0].lower() + "}", path.split("?")[0])
              for path in re.findall(r"^\| `(?:GET|POST|DELETE) (/[^` ]*)", documented, re.M)}
    assert listed | {"/"} == set(document["paths"])
    assert len(checked) >= 12


def test_members_that_are_sometimes_there_were_seen(pair):
    """The check above is worth what it saw: lists that are empty say nothing."""
    _, a, b = pair
    assert b.peers() and b.get("/v1/images") and a.get("/v1/blobs")
    kinds = {("image" in entry) for entry in a.get("/v1/pulls")}
    assert kinds == {True, False}
    assert b.get("/v1/search?q=app")["images"]
    assert b.blob(IMAGE.blobs[0].digest)["holders"]


def test_methods_that_are_not_described_are_refused(pair):
    _, a, _ = pair
    for path, operations in a.get("/openapi.json")["paths"].items():
        target = path.replace("{id}", "1").replace("{digest}", IMAGE.blobs[0].digest)
        for method in ("GET", "POST", "PUT", "DELETE"):
            if method.lower() not in operations:
                answer = a.admin(method, target)
                assert answer.status == 405, (method, target, answer)
                assert answer.json()["error"]


def test_events_tell_what_happens(rig):
    registry = rig.registry()
    registry.push(IMAGE)
    a = rig.agent("a", [registry])
    connection = web.Connection(a.host, ADMIN)
    connection.request("GET", "/v1/events")
    response = connection.getresponse()
    assert response.status == 200
    assert response.getheader("content-type") == "text/event-stream"
    b = rig.agent("b", [registry])
    a.wait_peers(1)
    assert a.verb("pull", registry.reference(IMAGE), timeout=60).returncode == 0
    b.kill()

    heard = {}
    kind = None
    while ("peer", "gone") not in heard:
        line = response.readline().decode().rstrip("\n")
        if line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            data = json.loads(line[6:])
            heard.setdefault((kind, data.get("state")), []).append(data)
    assert heard["peer", "alive"][0]["name"] == "b"
    assert [pull["image"] for pull in heard["pull", "done"]] == [registry.reference(IMAGE)]
    parts = {blob.digest for blob in (IMAGE.top, IMAGE.manifest, *IMAGE.blobs)}
    assert {fetch["digest"] for fetch in heard["fetch", "done"]} == parts
    assert {fetch["digest"] for fetch in heard["fetch", "running"]} == parts
    assert [image["name"] for image in heard["image", None]][0] == registry.reference(IMAGE)
    checker = Checker(a.get("/openapi.json"))
    for (kind, _), events in heard.items():
        for event in events:
            if kind in ("fetch", "pull"):
                checker.check({"$ref": f"#/components/schemas/{kind.title()}"}, event, kind)
    a.stop()
    # An agent that stops ends the stream; in the middle, where it stops before the last part is out.
    with contextlib.suppress(web.http.client.IncompleteRead):
        response.read()
    connection.close()
