"""One blob fetched from 1, 2 and 4 peers into the store."""

import json
import time

from tests.functional.rig.image import make_image
from tests.functional.rig.rig import Rig

from .common import GIB, cpu_seconds, median, say, spread

RUNS = 5
SHAPED = 128 << 20
POLL = 0.02  # seconds


def start(rig, image, holders):
    """A registry, `holders` agents that hold the image, and one that does not."""
    registry = rig.registry()
    registry.push(image)
    agents = [rig.agent(f"p{number}", [registry], agent={"log_level": "info"})
              for number in range(holders)]
    for agent in agents:
        assert agent.verb("pull", registry.reference(image), timeout=300).returncode == 0
    registry.stop()
    return registry, agents, rig.agent("c", [registry], agent={"log_level": "info"}, start=False)


def fetch(registry, image, holders, agent):
    """(seconds, CPU seconds) of one `shoal pull` into an empty store."""
    agent.forget_blobs()
    agent.start()
    agent.wait_holders(image.layers[1].digest, len(holders), timeout=60)
    before = cpu_seconds([agent.process.pid])
    posted = agent.admin("POST", "/v1/pulls", headers={"Content-Type": "application/json"},
                         body=json.dumps({"image": registry.reference(image)}))
    path = f"/v1/pulls/{posted.json()['id']}"
    while (pull := agent.get(path))["state"] == "running":
        time.sleep(POLL)
    assert pull["state"] == "done", pull
    cpu = cpu_seconds([agent.process.pid]) - before
    assert agent.bytes()["from_upstream"] == 0
    agent.stop()
    return pull["took_ms"] / 1000, cpu


def unshaped():
    image = make_image("bench/big", layer_sizes=(GIB,))
    say(f"one layer of 1 GiB, unshaped, {RUNS} runs; hash floor 0.56 s on one core")
    for count in (1, 2, 4):
        with Rig() as rig:
            registry, holders, agent = start(rig, image, count)
            runs = [fetch(registry, image, holders, agent) for _ in range(RUNS)]
        say(f"  {count} peers  {median([1 / seconds for seconds, _ in runs]):.2f} GiB/s   "
            f"{median([cpu for _, cpu in runs]):.2f} CPU s/GiB (fetching side)")


def shaped():
    image = make_image("bench/shaped", layer_sizes=(SHAPED,))
    say(f"one layer of {SHAPED >> 20} MiB, each holder shaped to 200 Mbit/s, {RUNS} pairs")
    with Rig() as rig:
        registry, holders, agent = start(rig, image, 2)
        for holder in holders:
            holder.host.shape("200mbit")
        ratios = []
        for _ in range(RUNS):
            two, _ = fetch(registry, image, holders, agent)
            holders[1].host.link(up=False)
            holders[1].stop()
            one, _ = fetch(registry, image, holders[:1], agent)
            holders[1].host.link(up=True)
            holders[1].start()
            ratios.append(one / two)
            say(f"  one {one:.2f} s   two {two:.2f} s")
    say(f"  ratio  {spread(ratios)}   target at least 1.9")


def bench():
    unshaped()
    shaped()
