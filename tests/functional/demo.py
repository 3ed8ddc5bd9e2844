"""`./dev demo`: three hosts, a registry, one image; what comes from where."""

import signal
import sys
import threading
import time

from .rig.agent import ADMIN
from .rig.image import hello_of, make_image
from .rig.rig import Rig

LAYERS = (48 << 20, 32 << 20, 16 << 20, 3 << 20)
HOSTS = ("host-a", "host-b", "host-c")
COLUMNS = "{:<28} {:>7} {:>11} {:>14}  {}"


def say(text=""):
    print(text, flush=True)


def size(count):
    """An empty cell is easier on the eye than nothing, spelled out."""
    if count < 1000:
        return f"{count} B" if count else "-"
    return f"{count / 1e3:.1f} kB" if count < 100_000 else f"{count / 1e6:.1f} MB"


class Demo:
    def __init__(self, rig):
        self.rig = rig
        self.registry = rig.registry("reg.demo", "registry")
        self.image = self.registry.push(make_image("demo/app", layer_sizes=LAYERS))
        self.reference = self.registry.reference(self.image)
        self.agents = {}
        for name in HOSTS:
            containerd = rig.containerd(name)
            self.agents[name] = rig.agent(
                name, [self.registry],
                agent={"admin": f"0.0.0.0:{ADMIN}", "log_level": "info"})
            done = self.agents[name].verb("hosts", "install", "--runtime", "containerd",
                                          "--registry", self.registry.name)
            if done.returncode != 0:
                containerd.use_mirror(self.registry.name)
        for agent in self.agents.values():
            agent.wait_peers(len(HOSTS) - 1)

    def pull(self, name, note):
        """Pulls on a host with its containerd; one line for it, one more for each blob."""
        agent = self.agents[name]
        before = agent.bytes()
        others = {other: self.agents[other].bytes()["to_peers"] for other in HOSTS if other != name}
        started = time.monotonic()
        self.rig.containerds[name].pull(self.reference)
        seconds = time.monotonic() - started
        after = agent.bytes()
        served = {other: self.agents[other].bytes()["to_peers"] - sent
                  for other, sent in others.items()}
        sources = [f"{other} {size(sent)}" for other, sent in served.items() if sent > 1000]
        upstream = after["from_upstream"] - before["from_upstream"]
        if upstream:
            sources.append(f"registry {size(upstream)}")
        say(COLUMNS.format(f"{name} ({note})", f"{seconds:.2f} s",
                           size(after["from_peers"] - before["from_peers"]),
                           size(upstream), ", ".join(sources)))
        self.show_blobs(agent)

    def show_blobs(self, agent):
        """Where each blob of the last pull came from, as the agent tells it."""
        names = {self.agents[name].status()["id"]: name for name in HOSTS}
        for blob in self.image.blobs:
            fetches = agent.transfers(blob.digest)
            if not fetches:
                continue
            parts = [f"{names.get(peer, peer[:12])} {size(count)}"
                     for peer, count in fetches[0]["bytes_by_peer"].items()]
            if fetches[0]["from_upstream"]:
                parts.append(f"registry {size(fetches[0]['from_upstream'])}")
            kind = "config" if blob is self.image.config else "layer"
            say(COLUMNS.format(f"  {kind} {blob.digest[7:19]}", "",
                               size(fetches[0]["from_peers"]),
                               size(fetches[0]["from_upstream"]), ", ".join(parts)))

    def forget(self, name):
        """As if the host had never pulled it: nothing in containerd, nothing in the agent."""
        agent, containerd = self.agents[name], self.rig.containerds[name]
        agent.stop()
        containerd.forget(self.reference)
        agent.forget_blobs()
        agent.start()
        agent.wait_peers(len(HOSTS) - 1)
        for blob in self.image.blobs:
            agent.wait_holders(blob.digest, len(HOSTS) - 1)

    def run(self):
        say(f"image {self.reference}: {len(self.image.layers)} layers, "
            f"{size(self.image.size)}; each host has an agent and a containerd of its own")
        say()
        say(COLUMNS.format("host", "time", "from peers", "from upstream", "sources"))
        self.pull("host-a", "nobody has it")
        for name in HOSTS[1:]:
            for blob in self.image.blobs:
                self.agents[name].wait_holders(blob.digest, 1)
            self.pull(name, "peers have it")
        self.registry.stop()
        self.forget("host-c")
        self.pull("host-c", "registry off")
        hello = self.rig.containerds["host-c"].run_image(self.reference, "cat", "/etc/hello")
        assert hello == hello_of(self.image), hello
        say()
        say(f"a container of it on host-c says: {hello.strip()}")


def keep(demo):
    """Leaves everything running until Ctrl-C."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    demo.rig.network.reach_from_here()
    demo.registry.start()
    say()
    say("running until Ctrl-C; open")
    for name, agent in demo.agents.items():
        say(f"  http://{agent.host.address}:{ADMIN}/   {name}")
    some = demo.agents["host-a"]
    say("and try, for example")
    say(f"  sudo {' '.join(some.host.command('ctr', '-n', 'k8s.io', 'images', 'ls'))}")
    ended.wait()


def main():
    arguments = sys.argv[1:]
    if arguments not in ([], ["--keep"]):
        sys.exit("usage: ./dev demo [--keep]")
    started = time.monotonic()
    with Rig() as rig:
        say("== starting a registry, three agents and three containerds on this machine")
        demo = Demo(rig)
        demo.run()
        say(f"in {time.monotonic() - started:.1f} s")
        if arguments:
            keep(demo)


if __name__ == "__main__":
    main()
