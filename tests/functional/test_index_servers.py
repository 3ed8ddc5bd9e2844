"""Several index servers: each key has one of them, and nothing stops when they go."""

import time

from rig.image import make_image
from rig.process import wait_until
from test_index import PORT, names, stranger

IMAGE = make_image("team/app", layer_sizes=(2 << 20, 50_000))


def three_servers(rig):
    servers = [rig.index_server(f"index{number}") for number in range(3)]
    return servers, [f"https://{server.host.address}:{PORT}" for server in servers]


def agent(rig, name, urls, registries=(), **options):
    return rig.agent(name, registries, index={"use": ["rendezvous"], "rendezvous": urls},
                     **options)


def living(some):
    return some.status()["peers"]["alive"]


def where_the_room_is(gets, count):
    """The servers at which so many are registered in the room."""
    found = []
    for number, get in gets.items():
        try:
            if len(names(get("/v1/discover?namespace=room/open"))) == count:
                found.append(number)
        except OSError:
            pass
    return found


def test_agents_meet_at_one_server_go_on_at_the_next_and_come_back(rig):
    servers, urls = three_servers(rig)
    registry = rig.registry()
    registry.push(IMAGE)
    a = agent(rig, "a", urls, [registry])
    b = agent(rig, "b", urls[::-1], [registry])  # the order in which they are written says nothing
    gets = {number: stranger(rig, server)[0] for number, server in enumerate(servers)}
    (first,) = wait_until("both are at one server", lambda: where_the_room_is(gets, 2))
    wait_until("they know each other", lambda: living(a) == living(b) == 1)
    a.fill(registry, IMAGE)
    b.wait_holders(IMAGE.layers[0].digest, 1)
    registry.stop()

    killed = time.monotonic()
    servers[first].kill()
    (second,) = wait_until("both are at another server",
                           lambda: [n for n in where_the_room_is(gets, 2) if n != first])
    print(f"at another server {time.monotonic() - killed:.2f} s after the first was killed")
    b.fill(registry, IMAGE)
    assert b.bytes()["from_upstream"] == 0
    c = agent(rig, "c", urls, [registry])
    wait_until("a newcomer finds them", lambda: living(c) == 2)
    assert second != first

    servers[first].start()
    wait_until("all are at the first server again", lambda: first in where_the_room_is(gets, 3))
    assert living(c) == 2


def test_with_every_server_gone_peers_go_on_and_a_restarted_agent_finds_them(rig):
    servers, urls = three_servers(rig)
    registry = rig.registry()
    registry.push(IMAGE)
    a, b, c = (agent(rig, name, urls, [registry]) for name in "abc")
    wait_until("all know each other", lambda: living(a) == living(b) == living(c) == 2)
    a.fill(registry, IMAGE)
    b.wait_holders(IMAGE.layers[0].digest, 1)
    registry.stop()
    wait_until("c has kept its peers", lambda: c.host.path("/var/lib/shoal/peers").exists()
               and c.host.path("/var/lib/shoal/peers").read_text().count("\n") == 2)
    for server in servers:
        server.kill()

    b.fill(registry, IMAGE)
    assert b.bytes()["from_upstream"] == 0

    c.kill()
    c.start()
    wait_until("c finds them without a server", lambda: living(c) == 2)
    c.fill(registry, IMAGE)
    assert c.bytes()["from_upstream"] == 0
    wait_until("it says that no server answers",
               lambda: not any(index["ok"] for index in c.status()["index"]))


def test_a_server_whose_packets_are_lost_is_left_as_well(rig):
    servers, urls = three_servers(rig)
    a, b = (agent(rig, name, urls) for name in "ab")
    gets = {number: stranger(rig, server)[0] for number, server in enumerate(servers)}
    (first,) = wait_until("both are at one server", lambda: where_the_room_is(gets, 2))
    wait_until("they know each other", lambda: living(a) == living(b) == 1)
    began = time.monotonic()
    servers[first].host.link(up=False)
    del gets[first]
    # Well before the 31 s that the longest wait at a server would take.
    wait_until("both are at another server", lambda: where_the_room_is(gets, 2), timeout=20)
    print(f"at another server {time.monotonic() - began:.2f} s after the first was cut off")
    c = agent(rig, "c", urls)
    wait_until("a newcomer finds them", lambda: living(c) == 2)
