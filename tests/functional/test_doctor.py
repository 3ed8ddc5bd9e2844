"""`shoal doctor`: what it finds on hosts that are well, and on hosts that are not."""

import json

from rig.agent import DATA, MIRROR
from rig.process import wait_until

LIKELY = {"clock"}  # whether the machine's clock is kept is not the rig's business


def findings(agent, *arguments):
    """(exit status, {check: [(state, text)]})"""
    done = agent.verb("doctor", "--json", *arguments)
    found = {}
    for entry in json.loads(done.stdout):
        found.setdefault(entry["check"], []).append((entry["state"], entry["text"]))
    return done.returncode, found


def states(found, check):
    return [state for state, _ in found[check]]


def test_a_host_that_is_well(rig):
    rig.containerd("a")
    a, b = rig.agent("a"), rig.agent("b")
    assert a.verb("hosts", "install").returncode == 0
    a.wait_peers(1)
    b.wait_peers(1)
    wait_until("b has dialled a", lambda: a.status()["relay"]["dialable"] == "yes", 30)
    status, found = findings(a)
    assert status == 0, found
    assert found["reach"] == [("ok", "others can dial this host")]
    assert found["relay"] == [("ok", "for 0 others of at most 16, 0 connections")]
    for check in set(found) - LIKELY - {"disk"}:
        assert set(states(found, check)) == {"ok"}, (check, found[check])
    assert len(found["port"]) == 3
    assert "_default" in found["runtime"][0][1]
    assert "1 alive" in found["peers"][0][1]
    table = a.verb("doctor").stdout
    assert table.splitlines()[0].split() == ["CHECK", "STATE", "WHAT"]


def test_a_host_where_much_is_wrong(rig):
    server = f"https://{rig.host('nobody').address}:7383"
    a = rig.agent("a", index={"use": ["lan", "rendezvous"], "rendezvous": [server]},
                  store={"containerd": "/run/containerd/containerd.sock"})
    status, found = findings(a)
    assert status == 1
    assert states(found, "runtime") == ["bad"] and "hosts install" in found["runtime"][0][1]
    assert states(found, "containerd") == ["note"]
    assert states(found, "peers") == ["bad"] and "7381" in found["peers"][0][1]
    assert "bad" in states(found, "index")
    assert any(server in text for state, text in found["index"] if state == "bad")


def test_a_host_without_an_agent_or_with_its_port_taken(rig):
    a = rig.agent("a", start=False)
    taken = a.host.listen(MIRROR)
    status, found = findings(a)
    assert status == 3
    assert states(found, "agent") == ["bad"]
    assert states(found, "port") == ["bad"] and str(MIRROR) in found["port"][0][1]
    taken.close()
    assert "port" not in findings(a)[1]


def test_a_disk_that_is_too_small_and_a_host_in_no_room(rig):
    host = rig.host("a")
    host.run("mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", DATA)
    a = rig.agent("a", room={"open": False})
    _, found = findings(a)
    assert states(found, "disk") == ["bad"]
    assert states(found, "rooms") == ["note"] and "shoal join" in found["rooms"][0][1]
    host.run("mount", "-o", "remount,size=512m", DATA)
    assert states(findings(a)[1], "disk") == ["note"]
