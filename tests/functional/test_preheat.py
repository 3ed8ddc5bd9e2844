"""The feed of a room, and preheat upon it: one word, and every member fetches an image."""

import json
import signal
import time

import pytest

from rig.agent import BINARY
from rig.image import make_image
from rig.process import wait_until
from rig.room import CLOSED, NO_ROOM, asks, make_room, peer_id, rooms_of
from rig.terminal import drawn_by

HOSTS = "abcdefgh"


def has_image(agent, image):
    return all(agent.has_blob(blob.digest) for blob in image.blobs)


def log_of(agent, room):
    return agent.get(f"/v1/rooms/{room.id}/feed")


def all_met(agents):
    """Each has met each: no member comes late."""
    for agent in agents:
        for other in agents:
            if other is not agent:
                wait_until("they have met", lambda a=agent, o=other: rooms_of(a, o), 40)


def room_of(rig, registry, names, room="team-a", **sections):
    made = make_room(rig, names[0], [registry], room, **sections)
    agents = [made.owner] + [made.agent(rig, name, [registry], **sections) for name in names[1:]]
    all_met(agents)
    return made, agents


def test_eight_hosts_fetch_one_copy_from_the_upstream(rig):
    image = make_image("team/app", layer_sizes=(24 << 20, 8 << 20, 70_001))
    registry = rig.registry()
    registry.push(image)
    room, agents = room_of(rig, registry, HOSTS)
    registry.host.shape("400mbit")
    mark = registry.log_size()
    result = agents[2].verb("preheat", registry.reference(image), timeout=120)
    assert result.returncode == 0, result.stderr
    assert f"{registry.reference(image)}: 8 of 8 hosts have it" in result.stdout
    for name in HOSTS:
        assert f"{name} has it" in result.stdout
    for agent in agents:  # its list of images is a moment behind its word
        wait_until("it is listed", lambda agent=agent: has_image(agent, image))
    # Nobody but the members themselves says who reads it, and on a busy machine they may be late;
    # without them it is eight.
    assert registry.blob_bytes(mark) <= 2 * image.size
    for agent in agents:
        # Once each, from the one who said it.
        assert [(m["name"], m["kind"], m["topic"]) for m in log_of(agent, room)] == \
            [("c", "preheat", registry.reference(image))]
        assert agent.metrics()["shoal_feed_messages_total"] == 1
        assert agent.metrics()["shoal_feed_refused_total"] == 0


def test_two_rooms_do_not_see_each_others_preheats(rig):
    image = make_image("secret/app")
    registry = rig.registry()
    registry.push(image)
    a, of_a = room_of(rig, registry, ("a1", "a2"), "team-a")
    b, of_b = room_of(rig, registry, ("b1", "b2"), "team-b")
    done = of_a[0].verb("preheat", registry.reference(image), check=True)
    assert "2 of 2 hosts" in done.stdout
    # The other room's feed works, and has nothing of it.
    other = make_image("other/app", seed=2)
    registry.push(other)
    assert "2 of 2 hosts" in of_b[1].verb("preheat", registry.reference(other), check=True).stdout
    for agent in of_b:
        assert [m["topic"] for m in log_of(agent, b)] == [registry.reference(other)]
        assert not any(agent.has_blob(blob.digest) for blob in image.layers)
        assert agent.admin("GET", f"/v1/rooms/{a.id}/feed").status == 404
    for agent in of_a:
        assert [m["topic"] for m in log_of(agent, a)] == [registry.reference(image)]
    # At the door: whatever room it names, whether it asks or tells.
    text = json.dumps({"whole": True})
    for path in (f"/feed/{a.id}", f"/feed/{b.id}", "/feed/open", f"/feed/{a.id}/1"):
        answer = asks(of_b[0], of_a[0], path, "POST", body=text)
        assert (answer.status, answer.json()["error"]) == (403, NO_ROOM), path
    # A member is told what stands, but nothing of a room that we are not in.
    told = asks(of_a[1], of_a[0], f"/feed/{a.id}", "POST", body=text)
    assert told.status == 200 and len(told.json()["messages"]) == 1
    assert asks(of_a[1], of_a[0], f"/feed/{b.id}", "POST", body=text).status == 403


def test_who_comes_late_gets_it_too_with_the_registry_off(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    room, agents = room_of(rig, registry, "ab")
    assert agents[1].verb("preheat", registry.reference(image)).returncode == 0
    registry.stop()
    # The one who said it is away by then.
    agents[1].stop()
    late = room.agent(rig, "late", [registry])
    wait_until("the latecomer has it", lambda: has_image(late, image), 60)
    assert late.bytes()["from_upstream"] == 0
    assert [m["topic"] for m in log_of(late, room)] == [registry.reference(image)]
    # It outlives a kill, and comes from the disk: nobody else is there.
    agents[0].stop()
    late.kill()
    late.start()
    wait_until("it is read again", lambda: len(log_of(late, room)) == 1)


def test_a_member_that_was_away_catches_up(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    _, agents = room_of(rig, registry, "abc")
    agents[2].kill()
    result = agents[0].verb("preheat", registry.reference(image))
    # It is named, whether it is known to be gone by then or not yet.
    assert "2 of " in result.stdout
    agents[2].start()
    wait_until("it has it", lambda: has_image(agents[2], image), 60)


def test_a_bad_reference_is_told_to_nobody(rig):
    registry = rig.registry()
    room, agents = room_of(rig, registry, "ab")
    for reference, code, words in (
            ("reg.test/team/nothere:1", 1, "404"),
            (f"reg.test/team/nothere@sha256:{'1' * 64}", 1, "manifest"),
            ("reg.test/Team/app:1", 2, "Team"),
            ("https://reg.test/app", 2, "shoal:")):
        result = agents[0].verb("preheat", reference)
        assert result.returncode == code and words in result.stderr, (reference, result)
        assert result.stderr.count("\n") == 1
    assert log_of(agents[0], room) == [] == log_of(agents[1], room)
    for options, words in ((("--room", "team-x"), "room list"), (("--expires", "200h"), "168h"),
                           (("--expires", "soon"), "expires")):
        result = agents[0].verb("preheat", "reg.test/team/app:1", *options)
        assert result.returncode == 2 and words in result.stderr, result


def test_who_does_not_want_it_does_not_fetch_it(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    room = make_room(rig, "a", [registry])
    b = room.agent(rig, "b", [registry], preheat={"images": ["reg.test/other/*"]})
    all_met([room.owner, b])
    result = room.owner.verb("preheat", registry.reference(image), "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["state"] == "done" and answer["room"] == "team-a"
    states = {host["name"]: host["state"] for host in answer["hosts"]}
    assert states == {"a": "done", "b": "declined"}
    assert not any(b.has_blob(blob.digest) for blob in image.layers)


def test_the_open_rooms_word_counts_only_where_it_is_said_so(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a = rig.agent("a", [registry])
    b = rig.agent("b", [registry])
    for agent in (a, b):
        agent.wait_peers(1)
    result = a.verb("preheat", registry.reference(image))
    assert result.returncode == 1 and "preheat.open" in result.stderr
    assert not any(agent.has_blob(blob.digest) for agent in (a, b) for blob in image.layers)
    for agent in (a, b):
        agent.stop()
        agent.configure(preheat={"open": True})
        agent.start()
    for agent in (a, b):
        agent.wait_peers(1)
    result = a.verb("preheat", registry.reference(image))
    assert result.returncode == 0, result.stderr
    assert "2 of 2 hosts have it" in result.stdout


def test_who_says_too_much_is_told_when_to_try_again(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    room, (a, b) = room_of(rig, registry, "ab")
    begun, said = time.monotonic(), 0

    def say():
        return a.admin("POST", "/v1/preheats", body=json.dumps({"image": registry.reference(image)}))

    while (answer := say()).status == 202:
        said += 1
    # 32 at once, and one in each 5 s that passed meanwhile.
    assert 32 <= said <= 33 + (time.monotonic() - begun) / 5
    assert answer.status == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    assert "as much in the room as it may" in answer.json()["error"]
    assert "try again in" in answer.json()["error"]
    told = a.verb("preheat", registry.reference(image))
    while told.returncode == 0:  # its 5 s had just passed
        said += 1
        told = a.verb("preheat", registry.reference(image))
    assert told.returncode == 1 and "try again in" in told.stderr
    assert told.stderr.count("\n") == 1
    # The other one got what stands, and nothing that was not taken: each of these words replaces
    # the one before it, so who is told late is told the last. Its own word waits for nobody.
    wait_until("b has heard the last", lambda: log_of(b, room) == log_of(a, room))
    assert len(log_of(b, room)) == 1
    assert 1 <= b.metrics()["shoal_feed_messages_total"] <= said
    assert b.metrics()["shoal_feed_refused_total"] == 0
    assert b.verb("preheat", registry.reference(image)).returncode == 0
    wait_until("a may say more", lambda: say().status == 202)


def test_a_revoked_writers_messages_go(rig):
    image, later = make_image("team/app"), make_image("team/later", seed=2)
    registry = rig.registry()
    registry.push(image)
    registry.push(later)
    room, (a, b, c) = room_of(rig, registry, "abc")
    assert b.verb("preheat", registry.reference(image)).returncode == 0
    for agent in (a, c):
        wait_until("it stands", lambda agent=agent: len(log_of(agent, room)) == 1)
    room.revoke(b)
    for agent in (a, c):
        wait_until("it is gone", lambda agent=agent: log_of(agent, room) == [])
    wait_until("b has heard", lambda: b.status()["room"] == [])
    refused = b.verb("preheat", registry.reference(later))
    assert refused.returncode == 1 and "room" in refused.stderr
    assert asks(b, a, f"/feed/{room.id}", "POST", body='{"whole": true}').status == 403


def test_ctrl_c_stops_the_watching_and_withdraw_the_fetching(rig):
    image = make_image("team/app", layer_sizes=(24 << 20,))
    registry = rig.registry()
    registry.push(image)
    registry.host.shape("8mbit")
    room, (a, b) = room_of(rig, registry, "ab")
    watching = a.host.start(BINARY, "preheat", registry.reference(image), log="preheat.log")
    wait_until("b fetches", lambda: any(p.get("image") == registry.reference(image)
                                        for p in b.get("/v1/pulls")))
    watching.signal(signal.SIGINT)
    wait_until("it ended", lambda: not watching.running)
    assert "--withdraw" in watching.text()
    assert any(p["state"] == "running" for p in b.get("/v1/pulls") if p.get("image"))
    again = b.verb("preheat", "--withdraw", registry.reference(image))
    assert again.returncode == 1 and "on the host that said it" in again.stderr
    a.verb("preheat", "--withdraw", registry.reference(image), check=True)
    for agent in (a, b):
        wait_until("it is given up", lambda agent=agent: all(
            p["state"] == "failed" for p in agent.get("/v1/pulls") if p.get("image")))
    assert [m["body"].get("withdrawn") for m in log_of(b, room)] == [True]
    assert "withdrawn" in a.verb("room", "log", "team-a", check=True).stdout


def test_a_bar_over_the_room_is_drawn_on_a_terminal(rig):
    image = make_image("team/app", layer_sizes=(8 << 20,))
    registry = rig.registry()
    registry.push(image)
    registry.host.shape("40mbit")
    _, (a, _) = room_of(rig, registry, "ab")
    code, drawn = drawn_by(a.host.command(BINARY, "preheat", registry.reference(image)))
    assert code == 0
    bars = [line for line in drawn.splitlines() if "[" in line and "hosts have it" in line]
    assert len({bar.count("=") for bar in bars}) >= 3, drawn
    assert bars[-1].count("=") == 30 and "2 of 2 hosts have it" in bars[-1]


def test_an_agent_in_no_room_says_so(rig):
    agent = rig.agent("a", room=CLOSED)
    result = agent.verb("preheat", "reg.test/team/app:1")
    assert result.returncode == 1 and "shoal join" in result.stderr


@pytest.mark.parametrize("body", ["", "[]", "{", '{"have": [1]}', '{"messages": ["x"]}',
                                  '{"link": 3}', '{"want": [{"writer": "00", "sequence": 1}]}'])
def test_nonsense_at_the_door_does_no_harm(shared, body):
    if not shared.agents:
        make_room(shared, "a")
    a = shared.agents[0]
    answer = asks(a, a, "/feed/open", "POST", body=body)
    assert answer.status in (400, 403)
    assert peer_id(a) and a.status()["room"] == ["team-a"]
