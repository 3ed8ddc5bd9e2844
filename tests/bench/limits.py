"""Rates as the link sees them: the worst window of five seconds, in percent of the limit."""

import threading

from tests.functional.rig.image import make_image
from tests.functional.rig.meter import Meter
from tests.functional.rig.rig import Rig

from .common import say

WINDOW = 5.0
SECONDS = 12  # of steady sending, at each limit
FETCHERS = 3


def get_all(gets):
    failed = []

    def get(agent, registry, image, blob):
        answer = agent.get_blob(registry, image, blob, timeout=120)
        if answer.status != 200 or answer.body != blob.data:
            failed.append(agent.host.name)

    threads = [threading.Thread(target=get, args=arguments) for arguments in gets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


def until_all_passed(meter, way):
    """Forgets what the meter saw when all but a thousandth of the bytes had passed: from then on the
    clients of this bench are busy with what they got, and the meter may be late."""
    begin = getattr(meter.samples[0], way)
    all_but = begin + 0.999 * meter.total(way)
    end = next(number for number, sample in enumerate(meter.samples)
               if getattr(sample, way) >= all_but)
    del meter.samples[end:]


def report(title, meter, way, rate, counted):
    total = meter.total(way)
    until_all_passed(meter, way)
    counted *= meter.total(way) / total
    time = meter.samples[-1].after - meter.samples[0].before
    say(f"{title}: fastest {WINDOW:.0f} s {100 * meter.fastest(way, WINDOW) / rate:.1f} %, "
        f"slowest {100 * meter.slowest(way, WINDOW) / rate:.1f} % of the limit at the link; "
        f"{100 * counted / time / rate:.1f} % over all, as the agent counts")


def upload(mbits):
    rate = mbits * 125_000
    size = rate * SECONDS // FETCHERS
    image = make_image("bench/limits", layer_sizes=(size,) * FETCHERS)
    with Rig() as rig:
        registry = rig.registry()
        registry.push(image)
        quiet = {"agent": {"log_level": "info"}}
        holder = rig.agent("a", [registry], limits={"upload_rate": f"{mbits}Mbit/s"}, **quiet)
        holder.fill(registry, image)
        fetchers = [rig.agent(f"f{number}", [registry], **quiet) for number in range(FETCHERS)]
        for agent in fetchers:
            for blob in image.blobs:
                agent.wait_holders(blob.digest, 1)
        registry.stop()
        with Meter(holder.host) as meter:
            get_all([(agent, registry, image, blob)
                     for agent, blob in zip(fetchers, image.layers[1:])])
        report(f"upload   {mbits:4} Mbit/s, {FETCHERS} fetchers", meter, "sent", rate,
               holder.bytes()["to_peers"])


def download(mbits):
    rate = mbits * 125_000
    size = rate * SECONDS // 3
    image = make_image("bench/limits", layer_sizes=(size, size, size))
    with Rig() as rig:
        registry = rig.registry()
        registry.push(image)
        quiet = {"agent": {"log_level": "info"}}
        holders = [rig.agent(f"h{number}", [registry], **quiet) for number in range(2)]
        for holder in holders:
            for blob in image.layers[1:3]:
                assert holder.get_blob(registry, image, blob, timeout=120).status == 200
        agent = rig.agent("a", [registry], limits={"download_rate": f"{mbits}Mbit/s"}, **quiet)
        for blob in image.layers[1:3]:
            agent.wait_holders(blob.digest, 2)
        with Meter(agent.host) as meter:
            get_all([(agent, registry, image, blob) for blob in image.layers[1:]])
        counted = agent.bytes()
        report(f"download {mbits:4} Mbit/s, 2 holders and the registry", meter, "received", rate,
               counted["from_peers"] + counted["from_upstream"])


def bench():
    for mbits in (20, 100, 400):
        upload(mbits)
        download(mbits)
