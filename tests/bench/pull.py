"""containerd pulls 500 MB through a warm mirror, and straight from docker-registry."""

import time

from tests.functional.rig.image import make_image
from tests.functional.rig.rig import Rig

from .common import median, say, spread

PAIRS = 5
LAYERS = (100 << 20,) * 5


def timed_pull(containerd, reference):
    started = time.monotonic()
    containerd.pull(reference)
    seconds = time.monotonic() - started
    containerd.forget(reference)
    return seconds


def compare(title, image):
    with Rig() as rig:
        registry = rig.registry()
        registry.push(image)
        containerd = rig.containerd("a")
        agent = rig.agent("a", [registry], agent={"log_level": "info"})
        reference = registry.reference(image)

        def through_the_mirror():
            containerd.use_mirror(registry.name)
            return timed_pull(containerd, reference)

        def straight():
            containerd.use_registry(registry.name, registry.url)
            return timed_pull(containerd, reference)

        agent.fill(registry, image)
        through_the_mirror()
        straight()
        pairs = [(through_the_mirror(), straight()) for _ in range(PAIRS)]
    say(f"{title}: {image.size / 1e6:.0f} MB, {len(image.layers)} layers, {PAIRS} pairs")
    say(f"  warm mirror      {median([pair[0] for pair in pairs]):.2f} s")
    say(f"  docker-registry  {median([pair[1] for pair in pairs]):.2f} s")
    say(f"  ratio of times   {spread([mine / other for mine, other in pairs])}   "
        "target at most 1.0")


def bench():
    compare("random data", make_image("bench/random", layer_sizes=LAYERS))
    compare("data that gzip halves", make_image(
        "bench/text", layer_sizes=tuple(2 * size for size in LAYERS), compressible=True, level=1))
