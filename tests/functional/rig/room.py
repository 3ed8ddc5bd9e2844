"""Rooms with keys, made with the verbs, and what one host says to another by its key."""

import json

from . import web
from .agent import DATA
from .identity import Identity

CLOSED = {"open": False}
NO_ROOM = "you share no room with this peer"


def said(agent, *arguments):
    """What a verb that must not fail prints."""
    return agent.verb(*arguments, check=True).stdout.strip()


class Room:
    """A room whose key lies on the host of `owner`."""

    def __init__(self, owner, name):
        self.owner, self.name = owner, name
        self.id = said(owner, "room", "create", name).split()[-1]

    def token(self, *options):
        return said(self.owner, "room", "token", self.name, *options)

    def agent(self, rig, name, registries=(), token=None, **sections):
        """An agent that joined before it ever ran, and has no word of the room to its
        configuration."""
        agent = rig.agent(name, registries, start=False, room=CLOSED, **sections)
        said(agent, "join", token or self.token())
        return agent.start()

    def revoke(self, agent_or_id):
        peer = agent_or_id if isinstance(agent_or_id, str) else peer_id(agent_or_id)
        said(self.owner, "room", "revoke", self.name, peer)


def peer_id(agent):
    return said(agent, "id")


def make_room(rig, host, registries=(), name="team-a", **sections):
    """A room, and the agent on the host of its key, which is a member."""
    owner = rig.agent(host, registries, start=False, room=CLOSED, **sections)
    room = Room(owner, name)
    said(owner, "join", room.token())
    owner.start()
    return room


def asks(one, other, path, method="GET", **options):
    """`one` asks `other` at its peer port, with nothing but its key."""
    seed = bytes.fromhex(one.host.path(f"{DATA}/identity").read_text().strip())
    identity = Identity(one.host.folder / "as-peer", seed)
    context = web.insecure_context(identity.certificate, identity.key)
    return web.request(one.host, 7381, method, "/p2p/v1" + path,
                       address=other.host.address, context=context, **options)


def shows(one, other, room, where=None):
    """`one` shows `other` the membership of `room` that it was given."""
    text = json.loads(one.host.path(f"{DATA}/rooms/{room.id}/room").read_text())["membership"]
    body = json.dumps({"membership": text, "hash": "", "revocations": []})
    return asks(one, other, f"/rooms/{where or room.id}", "POST", body=body)


def rooms_of(agent, other):
    """In which rooms `agent` takes `other` to be."""
    wanted = peer_id(other)
    return [name for peer in agent.peers() if peer["id"] == wanted for name in peer["rooms"]]
