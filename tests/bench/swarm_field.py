"""The field of `./dev bench swarm`: agents on shaped links, a registry, and what a run showed."""

import contextlib
import os
import pathlib
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tests.functional.rig import web
from tests.functional.rig.agent import ADMIN
from tests.functional.rig.process import run, wait_until
from tests.functional.rig.rig import Rig

from .common import random_blob
from .crowd import Crowd
from .swarm_run import Machine, Run
from .warm import WarmMemory

MIB = 1 << 20
PRIORITY = -10  # of the autogroup of every program on the rig, so that builds beside it matter less
# What an operator gets, where the rig's tests are more hurried.
SHIPPED = {"agent": {"log_level": "info"}, "index": {"sync_interval": "10s"},
           "lan": {"interval": "5s"}}


class Poll(threading.Thread):
    """Asks each agent how much of some blobs it has, at a modest pace."""

    def __init__(self, agents, sizes, every):
        super().__init__(daemon=True)
        self._agents, self._sizes, self._every = agents, sizes, every
        self.progress = {agent.host.name: [(0.0, 0.0)] for agent in agents}
        self._end = threading.Event()
        self._begun = time.monotonic()
        self.start()

    def run(self):
        connections = {}
        while not self._end.wait(self._every):
            for agent in self._agents:
                points = self.progress[agent.host.name]
                if points[-1][1] >= 1:
                    continue
                try:
                    if agent not in connections:
                        connections[agent] = web.Connection(agent.host, ADMIN, timeout=2)
                    share = self._share(connections[agent])
                except (OSError, ValueError, web.http.client.HTTPException):
                    connections.pop(agent, None)  # killed, stopped or too busy: no point
                    continue
                points.append((time.monotonic() - self._begun, max(share, points[-1][1])))
        for connection in connections.values():
            connection.close()

    def _share(self, connection):
        have = 0
        for digest, size in self._sizes.items():
            connection.request("GET", f"/v1/blobs/{digest}")
            response = connection.getresponse()
            body = response.read()
            if response.status == 200:
                have += size * blob_share(web.json.loads(body))
        return have / sum(self._sizes.values())

    def share(self):
        """What they have verified, at the mean."""
        return sum(points[-1][1] for points in self.progress.values()) / len(self.progress)

    def stop(self, took):
        """Ends it; `took` says when each host had its last byte."""
        self._end.set()
        self.join(10)
        for name, seconds in took.items():
            kept = [point for point in self.progress[name] if point[0] < seconds and point[1] < 1]
            self.progress[name] = [*kept, (seconds, 1.0)]
        return self.progress


def blob_share(blob):
    """The verified share of a blob, by /v1/blobs/{digest}."""
    if blob.get("state") == "complete":
        return 1.0
    return blob.get("have", 0) / blob["pieces"] if blob.get("pieces") else 0.0


class Field:
    """A registry and `count` agents, links shaped to `mbit` (None: not at all).

    strangers   names of hosts without an agent, whose peer port all agents are told of
    containerds hosts have a containerd too, that pulls through the mirror
    """

    def __init__(self, count, mbit, index_server=False, in_memory=True, strangers=(),
                 containerds=False, **sections):
        folder = tempfile.mkdtemp(prefix="shoal-bench-", dir="/dev/shm" if in_memory else None)
        self.rig = Rig(folder)
        self.mbit = mbit
        self.sections = {name: dict(keys) for name, keys in SHIPPED.items()}
        self.registry = self.rig.registry()
        self.index = None
        if index_server:
            self.index = self.rig.index_server("index")
            self.sections["index"].update(
                use=["lan", "rendezvous"],
                rendezvous=[f"https://{self.index.host.address}:7383"])
        self.strangers = [self.rig.host(name) for name in strangers]
        if strangers:
            self.sections["index"].update(use=["lan", "static"], static=[
                f"{host.address}:7381" for host in self.strangers])
        for name, keys in sections.items():
            self.sections.setdefault(name, {}).update(keys)
        names = [f"h{number:02}" for number in range(count)]
        for name in names if containerds else []:
            containerd = self.rig.containerd(name)
            containerd.use_mirror(self.registry.name)
            prefer(containerd.process)
        self.agents = [self.rig.agent(name, [self.registry], start=False, **self.sections)
                       for name in names]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.rig.__exit__(*error)

    @property
    def hosts(self):
        return [agent.host for agent in self.agents]

    def seconds(self, size):
        """T0: the bits of `size` bytes over the link rate."""
        return size * 8 / (self.mbit * 1e6)

    # --- before a run ---

    def shape(self, on, hosts=None):
        if self.mbit:
            for host in hosts or self.rig.network.hosts.values():
                host.shape(f"{self.mbit}mbit" if on else None)

    def fresh(self, agents=None):
        """(Re)starts agents with nothing in their stores, and waits until all know each other."""
        agents = agents or self.agents

        def renew(agent):
            if agent.process is not None:
                if agent.process.running:
                    agent.stop()
                agent.forget_blobs()
            agent.start(wait=False)
            prefer(agent.process)
            agent.wait_ready(60)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(renew, agents))
        for agent in self.agents:
            agent.wait_peers(len(self.agents) - 1, timeout=120)
        prefer(self.registry.process)
        if self.index:
            prefer(self.index.process)

    def push(self, size):
        """A blob that is new to everybody but the registry; over its loopback, so not shaped."""
        blob = random_blob(size)
        self.registry.push_blob("bench/blob", blob)
        return blob

    def stop_agents(self):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda agent: agent.stop(), self.agents))

    def restart_registry(self):
        """An empty one: the blobs of earlier runs would fill the memory."""
        self.registry.stop()
        run("rm", "-rf", self.registry.folder / "data")
        self.registry.start()
        prefer(self.registry.process)

    def path(self, blob):
        return f"/v2/bench/blob/blobs/{blob.digest}?ns={self.registry.name}"

    def fill(self, agents, blob):
        """Makes holders, at full speed, and waits until everybody knows them."""
        hosts = [agent.host for agent in agents] + [self.registry.host]
        self.shape(False, hosts)
        for get in Crowd([agent.host for agent in agents], self.path(blob)).run(120):
            assert not get.error, (get.name, get.error)
        self.shape(True, hosts)
        for agent in agents:
            wait_until("it is stored", lambda agent=agent: agent.has_blob(blob.digest))
        for agent in self.agents:
            others = len(agents) - (agent in agents)
            if others:
                agent.wait_holders(blob.digest, min(others, 8), timeout=120)

    # --- a run ---

    def crowd(self, agents, blob, holder=None, check=False, on_tick=None, timeout=None,
              upstream=True):
        """All `agents` are asked for the blob in one moment by their clients.

        on_tick(seconds, share) is called while they pull, with the mean verified share.
        """
        with WarmMemory(len(agents) * blob.size):
            return self._crowd(agents, blob, holder, check, on_tick, timeout, upstream)

    def _crowd(self, agents, blob, holder, check, on_tick, timeout, upstream):
        Machine.wait_until_quiet()
        t0 = self.seconds(blob.size) if self.mbit else 2.0
        crowd = Crowd([agent.host for agent in agents], self.path(blob), check)
        log, sent = self.registry.log_size(), holder.host.sent_bytes() if holder else 0
        hosts = [agent.host for agent in agents]
        came = received(hosts)
        everyone = [agent for agent in self.agents if agent.process.running]
        cpu = {agent: agent.process.cpu_seconds() for agent in everyone}
        machine = Machine()
        poll = Poll(agents, {blob.digest: blob.size}, max(0.25, t0 / 60))
        gets = crowd.run(timeout or 20 * t0 + 30,
                         on_tick and (lambda now: on_tick(now, poll.share())))
        idle, came = machine.idle(), (received(hosts) - came) / len(hosts) / blob.size
        took = {get.name: get.seconds for get in gets if get.seconds is not None}
        failed = {get.name: get.error for get in gets if get.error}
        if check:
            failed.update({get.name: f"WRONG BYTES, in {1 + get.cuts} answers" for get in gets
                           if get.seconds is not None and not get.right(blob)})
        spent = sum(agent.process.cpu_seconds() - cpu[agent] for agent in everyone
                    if agent.process.running)
        return Run(took, failed, self.upstream_bytes(log) / blob.size if upstream else 0, spent, idle,
                   poll.stop(took), (holder.host.sent_bytes() - sent) / blob.size if holder else 0,
                   came, {get.name: get.first_byte for get in gets if get.first_byte is not None})

    def upstream_bytes(self, log):
        """What the registry says it has sent since its log had that size."""
        size = -1
        while (now := self.registry.blob_bytes(log)) != size:
            size = now
            time.sleep(0.3)  # it writes of a request at its end, perhaps a moment after the client
        return size

    def wasted(self, agents, blob):
        """Bytes that came and were thrown away, by the agents' own count."""
        return sum(entry["wasted"] for agent in agents
                   for entry in agent.transfers(blob.digest)[:1])


def received(hosts):
    return sum(host.received_bytes() for host in hosts)


def prefer(process):
    """Each program of the rig is a session, and so a scheduling group, of its own."""
    _autogroup(process.pid, PRIORITY)


@contextlib.contextmanager
def preferred():
    """The bench itself too: its threads serve the rig. Its group is that of the caller's session."""
    was = _autogroup(os.getpid(), PRIORITY)
    try:
        yield
    finally:
        _autogroup(os.getpid(), was)


def _autogroup(pid, nice):
    """Sets the priority of a process's group. Returns what it was before."""
    path = pathlib.Path(f"/proc/{pid}/autogroup")
    if not path.exists():
        return 0
    was = int(path.read_text().split()[-1])  # "/autogroup-71 nice 0"
    path.write_text(str(nice))
    return was
