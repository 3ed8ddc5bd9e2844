"""Index servers that answer for each other's agents."""

import json
import subprocess

from rig import web
from rig.agent import DATA
from rig.identity import Identity
from rig.image import make_image
from rig.process import wait_until
from test_index import PORT, names, stranger

IMAGE = make_image("team/app", layer_sizes=(2 << 20, 50_000))


def url_of(host):
    return f"https://{host.address}:{PORT}"


def federated(rig, count=3):
    """Servers, each with the one list of all."""
    hosts = [rig.host(f"index{number}") for number in range(count)]
    urls = [url_of(host) for host in hosts]
    servers = [rig.index_server(host.name, rendezvous={"federate": urls}) for host in hosts]
    for server in servers:
        wait_until(f"{server.host.name} reaches all others",
                   lambda: states(server) == ["works"] * (count - 1))
    return servers


def states(server):
    return [other["state"] for other in server.get("/v1/servers")[1:]]


def agent(rig, name, servers, registries=()):
    urls = [url_of(server.host) for server in servers]
    return rig.agent(name, registries, index={"use": ["rendezvous"], "rendezvous": urls})


def living(some):
    return some.status()["peers"]["alive"]


def wait_told(servers, agents):
    """Agents may find each other sooner, by what peers tell them."""
    ids = {some.status()["id"] for some in agents}
    for server in servers:
        wait_until(f"{server.host.name} knows all",
                   lambda: {peer["id"] for peer in server.get("/v1/peers")} == ids)


def test_three_federated_servers_one_of_which_is_killed(rig):
    servers = federated(rig)
    registry = rig.registry()
    registry.push(IMAGE)
    # Each agent knows one server, and they find each other.
    a, b, c = (agent(rig, name, [server], [registry]) for name, server in zip("abc", servers))
    wait_until("all find each other", lambda: living(a) == living(b) == living(c) == 2)
    wait_told(servers, [a, b, c])
    a.fill(registry, IMAGE)
    b.wait_holders(IMAGE.layers[0].digest, 1)
    registry.stop()

    servers[0].kill()  # that of a
    b.fill(registry, IMAGE)
    assert b.bytes()["from_upstream"] == 0
    newcomer = agent(rig, "d", [servers[2]], [registry])
    wait_until("a newcomer finds all, a among them", lambda: living(newcomer) == 3)
    newcomer.fill(registry, IMAGE)
    assert newcomer.bytes()["from_upstream"] == 0
    wait_until("the others say that it is away",
               lambda: sorted(states(servers[1])) == ["away", "works"])

    # kill -9 loses nothing: it answers for all as soon as it is back.
    servers[0].start()
    get, _ = stranger(rig, servers[0])
    assert {a.status()["id"], b.status()["id"], c.status()["id"]} <= {
        peer["id"] for peer in servers[0].get("/v1/peers")}
    wait_until("it has heard of the newcomer",
               lambda: len(names(get("/v1/discover?namespace=room/open"))) == 4)
    for server in servers:
        wait_until("all reach each other again", lambda: states(server) == ["works", "works"])


def test_each_server_tells_who_is_where(rig):
    servers = federated(rig)
    agents = [agent(rig, name, [server]) for name, server in zip("abc", servers)]
    wait_until("all find each other", lambda: all(living(some) == 2 for some in agents))
    wait_told(servers, agents)
    homes = {some.status()["id"]: server.get("/v1/status")["id"]
             for some, server in zip(agents, servers)}
    for server in servers:
        assert {peer["id"]: peer["server"] for peer in server.get("/v1/peers")} == homes
        listed = server.get("/v1/servers")
        assert {entry["id"] for entry in listed} == set(homes.values())
        assert listed[0]["state"] == "self"
        assert server.metrics()["shoal_index_servers"] == 2
        assert server.get("/v1/status")["servers"] == 3
    # The network can be walked from any one of them, by whoever reaches it.
    get, _ = stranger(rig, servers[0])
    walked = get("/v1/servers").json()["servers"]
    assert {entry["id"] for entry in walked} == set(homes.values())
    assert {entry.get("url") for entry in walked[1:]} == {url_of(server.host)
                                                          for server in servers[1:]}
    assert get("/v1/log").status == 403


def test_a_log_goes_over_the_wire_compressed_to_servers_and_to_nobody_else(rig):
    servers = federated(rig, count=2)
    agents = [agent(rig, name, [servers[0]]) for name in "abc"]
    wait_told(servers, agents)
    here = servers[1].get("/v1/servers")[1]
    seed = bytes.fromhex(servers[1].host.path(f"{DATA}/identity").read_text().strip())
    identity = Identity(servers[1].host.folder / "as-server", seed)
    context = web.insecure_context(identity.certificate, identity.key)

    def log(**headers):
        target = f"/v1/log?server={here['id']}&epoch={here['epoch']}&after=0"
        return web.request(servers[1].host, PORT, "GET", target, headers,
                           address=servers[0].host.address, context=context)

    plain, packed = log(), log(**{"Accept-Encoding": "zstd"})
    assert plain.status == packed.status == 200
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "zstd"
    text = subprocess.run(["zstd", "-dcq"], input=packed.body, capture_output=True, check=True).stdout
    assert set(json.loads(text)) == set(plain.json())
    assert len(packed.body) < 0.75 * len(plain.body)
    assert here["read"] > 0
    get, _ = stranger(rig, servers[0])
    assert get(f"/v1/log?server={here['id']}&epoch={here['epoch']}&after=0").status == 403


def test_a_partition_heals_by_increments(rig):
    servers = federated(rig)
    a = agent(rig, "a", [servers[0]])
    b = agent(rig, "b", [servers[1]])
    wait_until("they find each other", lambda: living(a) == living(b) == 1)
    wait_told(servers, [a, b])
    read = {entry["id"]: entry["epoch"] for entry in servers[1].get("/v1/servers")}

    servers[2].host.link(up=False)
    wait_until("the others notice", lambda: states(servers[0]).count("away") == 1, timeout=30)
    c = agent(rig, "c", [servers[0]])
    wait_until("c is known on this side", lambda: living(b) == 2)
    inside = {peer["id"] for peer in servers[2].get("/v1/peers")}
    assert c.status()["id"] not in inside and len(inside) == 2

    servers[2].host.link(up=True)
    wait_until("the third server has heard of c",
               lambda: c.status()["id"] in {peer["id"] for peer in servers[2].get("/v1/peers")},
               timeout=30)
    for server in servers:
        wait_until("all reach each other again", lambda: states(server) == ["works", "works"],
                   timeout=30)
    assert {entry["id"]: entry["epoch"] for entry in servers[1].get("/v1/servers")} == read


def test_says_who_is_wrong_when_a_server_is_not_expected(rig):
    other = rig.index_server("index0")  # federates with nobody
    server = rig.index_server("index1", rendezvous={"federate": [url_of(other.host)]})
    wait_until("it says what to do", lambda: any(
        "rendezvous.federate" in entry["trouble"] for entry in server.get("/v1/servers")))
