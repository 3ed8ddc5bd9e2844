"""The index server, as a stranger who has read docs/PROTOCOL.md sees it."""

import ssl
import time

from rig import web
from rig.identity import Identity
from rig.process import wait_until

PORT = 7383


def stranger(rig, server):
    """(request, connect) of a host that has a key of its own."""
    host = rig.host("stranger")
    identity = Identity(host.folder / "identity")
    context = web.insecure_context(identity.certificate, identity.key)

    def get(path):
        return web.request(host, PORT, "GET", path, address=server.host.address, context=context)

    def connect():
        return context.wrap_socket(host.connect(PORT, server.host.address))

    return get, connect


def names(answer):
    return [entry["namespace"] for entry in answer.json()["records"]]


def test_kill_9_loses_nothing_that_was_answered(rig):
    server = rig.index_server("index")
    url = f"https://{server.host.address}:{PORT}"
    agent = rig.agent("a", index={"use": ["rendezvous"], "rendezvous": [url]})
    get, _ = stranger(rig, server)
    wait_until("the agent is registered",
               lambda: names(get("/v1/discover?namespace=room/open")) == ["room/open"])
    cookie = get("/v1/discover?namespace=room/open").json()["cookie"]
    agent.kill()
    server.kill()
    server.start()
    assert names(get("/v1/discover?namespace=room/open")) == ["room/open"]
    again = get(f"/v1/discover?namespace=room/open&cookie={cookie}")
    assert again.status == 200 and names(again) == []


def test_refuses_a_taken_folder_or_port_in_one_sentence(rig):
    server = rig.index_server("index")

    def refused(*sets):
        sets = [part for text in sets for part in ("--set", text)]
        done = server.verb("index", "--config", "/etc/shoal/shoal.toml", *sets, timeout=15)
        lines = [line for line in done.stderr.splitlines() if line.startswith("shoal: ")]
        assert done.returncode == 1 and len(lines) == 1, done.stderr
        return lines[0]

    other = "agent.data_dir=/var/lib/shoal/other"
    admin = "agent.admin=127.0.0.1:17382"
    assert "/var/lib/shoal" in refused("rendezvous.listen=0.0.0.0:17383", admin)
    assert str(PORT) in refused(other, admin)
    assert "7382" in refused(other, "rendezvous.listen=0.0.0.0:17383")
    assert "/proc/none" in refused("agent.data_dir=/proc/none")


def test_its_status_api(rig):
    server = rig.index_server("index")
    assert set(server.get("/v1/status")) >= {"id", "version", "uptime_s", "peers", "registrations"}
    assert server.get("/v1/status")["id"] == server.verb("id").stdout.strip()
    assert server.metrics()["shoal_index_peers"] == 0
    for method, path, status in (("GET", "/healthz", 200), ("GET", "/readyz", 200),
                                 ("GET", "/x/status", 404), ("GET", "/v1/peers", 200),
                                 ("POST", "/v1/status", 405)):
        assert server.admin(method, path).status == status, path


def test_answers_beside_thousands_of_idle_and_slow_clients(rig):
    server = rig.index_server("index")
    get, connect = stranger(rig, server)
    assert get("/v1/discover?namespace=room/open").status == 200
    idle = [connect() for _ in range(5000)]
    slow = [connect() for _ in range(500)]
    for client in slow:
        client.sendall(b"POST /v1/register HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{")
    begun = time.monotonic()
    took = []
    while time.monotonic() - begun < 3:
        for client in slow[::50]:
            try:
                client.sendall(b" ")
            except OSError:
                pass
        asked = time.monotonic()
        assert get("/v1/discover?namespace=room/open").status == 200
        took.append(time.monotonic() - asked)
    print(f"{len(took)} answers, median {sorted(took)[len(took) // 2] * 1000:.1f} ms")
    # Those that do not finish their request are sent away.
    slow[1].settimeout(30)
    try:
        assert b"408" in slow[1].recv(4096)
    except (ssl.SSLError, ConnectionError):
        pass
    for client in idle + slow:
        client.close()
