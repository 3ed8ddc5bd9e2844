"""Neighbours on a LAN, as a stranger who has read docs/PROTOCOL.md sees them."""

import base64
import contextlib
import json
import os
import socket
import struct
import threading
import time

import pytest

from rig.identity import Identity, base64url
from rig.image import make_image
from rig.network import run
from rig.process import wait_until

GROUP, PORT = "239.255.73.80", 7385


class Neighbour:
    """Somebody on `host` who sends to the group, and hears it."""

    def __init__(self, host, name="neighbour"):
        self.host = host
        self.identity = Identity(host.folder / name)
        self.record = self.identity.envelope([f"{host.address}:7381"], name=name)
        self._sent = int(time.time() * 1000)
        with host.inside():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((GROUP, PORT))
            self._socket.setsockopt(
                socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton(host.address)))
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                                    socket.inet_aton(host.address))
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)

    def send(self, datagram):
        data = datagram if isinstance(datagram, bytes) else json.dumps(datagram).encode()
        self._socket.sendto(data, (GROUP, PORT))

    def _signed(self, context, payload):
        self._sent += 1
        text = json.dumps({**payload, "sent": self._sent}).encode()
        return {"signature": base64url(self.identity.sign(context + text))}, base64url(text)

    def beacon(self):
        signature, text = self._signed(b"shoal-beacon-v1\n", {"epoch": 1, "head": 0})
        return {"shoal": 1, "record": self.record, "beacon": text, **signature}

    def ask(self, digest):
        signature, text = self._signed(b"shoal-ask-v1\n", {"key": f"blob/{digest}"})
        return {"shoal": 1, "key": base64url(self.identity.public), "ask": text, **signature}

    def answers(self, seconds):
        """What is answered to us within so long: (holder's public key, key, sent)."""
        found, end = [], time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                datagram = json.loads(self._socket.recv(2000))
            except TimeoutError:
                break
            except ValueError:
                continue
            if "answer" in datagram:
                text = base64.urlsafe_b64decode(datagram["answer"] + "==")
                answer = json.loads(text)
                if answer["asker"] == self.identity.id:
                    found.append((datagram["key"], answer["key"], answer["sent"]))
        return found

    def close(self):
        self._socket.close()


@pytest.fixture
def neighbour(rig):
    with contextlib.ExitStack() as stack:
        def make(host, name="neighbour"):
            return stack.enter_context(contextlib.closing(Neighbour(rig.host(host), name)))
        yield make


def answered(neighbour, datagram):
    """Whether somebody answers. A datagram may be lost: it is for those that shall be answered."""
    neighbour.send(datagram)
    return neighbour.answers(0.3)


def test_who_holds_a_blob_answers_neighbours_and_nobody_else(rig, neighbour):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a, b = (rig.agent(name, [registry]) for name in "ab")
    a.fill(registry, image)
    blob = image.layers[0].digest
    absent = "sha256:" + "0" * 64
    asker = neighbour("c")
    assert answered(asker, asker.ask(blob)) == []  # of whom no beacon was heard
    asker.send(asker.beacon())
    wait_until("it is a neighbour", lambda: "neighbour" in [p["name"] for p in a.peers()])
    assert answered(asker, asker.ask(absent)) == []
    question = asker.ask(blob)
    found = wait_until("it is answered", lambda: answered(asker, asker.ask(blob)))
    assert {key for _, key, _ in found} == {f"blob/{blob}"} and len(found) == 1
    assert answered(asker, question) == []  # older than the last one
    last = asker.ask(blob)
    assert answered(asker, {**last, "signature": question["signature"]}) == []
    assert answered(asker, last)  # what was forged has spoilt nothing
    assert answered(asker, last) == []  # replayed
    b.fill(registry, image)
    found = wait_until("both answer", lambda: len(answered(asker, asker.ask(blob))) == 2)


def test_a_storm_of_datagrams_stops_nobody(rig, neighbour):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a = rig.agent("a", [registry])
    bad = neighbour("bad", "bad")
    bad.send(bad.beacon())
    wait_until("it is a neighbour", lambda: "bad" in [p["name"] for p in a.peers()])
    beacon, ask = bad.beacon(), bad.ask("sha256:" + "0" * 64)
    forged = [json.dumps({**datagram, "signature": base64url(os.urandom(64))}).encode()
              for datagram in (beacon, ask) for _ in range(20)]
    storm = [*forged, json.dumps(beacon).encode(), json.dumps(ask).encode(), os.urandom(900),
             b"{" * 1400, b'{"shoal":1,"ask":' + b"[" * 1000]
    going, sent = threading.Event(), [0]

    def blow():
        while not going.is_set():
            for datagram in storm:
                bad.send(datagram)
            sent[0] += len(storm)
            time.sleep(0.01)

    thread = threading.Thread(target=blow)
    thread.start()
    try:
        b = rig.agent("b", [registry])
        # Beacons beyond 500 a second are not looked at; ours come every second.
        for agent in (a, b):
            wait_until("they find each other",
                       lambda: {"a", "b"} - {agent.host.name} <= {p["name"] for p in agent.peers()},
                       30)
        a.fill(registry, image)
        b.wait_holders(image.layers[0].digest, 1)
        b.fill(registry, image)
        wait_until("it has stormed", lambda: sent[0] > 10_000)
        assert a.is_ready() and b.is_ready()
    finally:
        going.set()
        thread.join()
    assert {peer["name"] for peer in a.peers()} == {"b", "bad"}


def test_by_ipv6_alone(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    six = {"peer": {"listen": "[::]:7381"}}
    a, b = (rig.agent(name, [registry], start=False, **six) for name in "ab")
    for number, agent in enumerate((a, b), 1):
        agent.host.run("ip", "addr", "add", f"fd73::{number}/64", "dev", "eth0", "nodad")
        # By IPv4 it hears nothing: no address, no group.
        agent.configure(lan={"group": f"239.255.73.8{number}:7385"})
        agent.start()
    for agent in (a, b):
        agent.wait_peers(1)
    a.fill(registry, image)
    b.wait_holders(image.layers[0].digest, 1)
    registry.stop()
    assert b.get_blob(registry, image, image.layers[0]).status == 200


def test_on_several_interfaces(rig):
    """a and c have no network in common but a cable of their own; b is on the LAN with a."""
    a, b, c = (rig.agent(name, start=False) for name in "abc")
    c.host.link(up=False)
    run("ip", "-n", a.host.namespace, "link", "add", "cable", "type", "veth", "peer", "name",
        "cable", "netns", c.host.namespace)
    for number, agent in ((1, a), (2, c)):
        agent.host.run("ip", "addr", "add", f"10.99.0.{number}/24", "dev", "cable")
        agent.host.run("ip", "link", "set", "cable", "up")
    for agent in (a, b, c):
        agent.start()
    a.wait_peers(2)
    for agent in (b, c):
        agent.wait_peers(1)
    assert {peer["name"] for peer in c.peers() if peer["state"] == "alive"} == {"a"}
    lan = next(entry for entry in a.status()["index"] if entry["kind"] == "lan")
    assert "cable" in lan["text"] and "eth0" in lan["text"]
