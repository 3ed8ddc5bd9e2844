"""Real containerds that pull a cold image, and the time to the first byte of a cold blob."""

import time

from tests.functional.rig.image import make_image

from .common import median, say
from .crowd import Crowd
from .picture import Panel
from .swarm_cases import goal, line, lines_of, picture
from .swarm_field import MIB, Field, Poll, received
from .swarm_run import Machine, Run, rank
from .warm import WarmMemory, meminfo

LAYERS = (100_000_000,) * 5
WRITTEN = 3  # the agent's copy, containerd's, and what it unpacks, on each host


def containerd(options):
    """Every host's containerd 1.6 pulls the same cold image in the same moment."""
    count, _, runs = options.scale(8, 0, 1, quick_hosts=3)
    mbit = options.rate(200)
    layers = (20_000_000,) * 2 if options.quick else LAYERS
    image = make_image("bench/five", layer_sizes=layers)
    in_memory = meminfo("MemAvailable") > 1.3 * (WRITTEN * count + 1) * image.size
    with Field(count, mbit, index_server=True, in_memory=in_memory, containerds=True) as field:
        t0 = field.seconds(image.size)
        title = (f"{count} containerds, cold, {image.size / 1e6:.0f} MB in {len(layers)} layers, "
                 f"{mbit} Mbit/s")
        version = field.rig.containerds["h00"].ctr("--version").stdout.split()[2]
        say(f"{title}; T0 {t0:.2f} s; containerd {version}; with index server; files "
            f"{'in memory' if in_memory else 'on disk, which may decide'}; snapshotter "
            f"{field.rig.containerds['h00'].snapshotter}")
        field.registry.push(image)
        field.shape(True)
        done = []
        for _ in range(runs):
            for name in done[-1].took if done else ():
                field.rig.containerds[name].forget(field.registry.reference(image))
            field.fresh()
            with WarmMemory(WRITTEN * count * image.size):
                done.append(pull(field, image))
            line("shoal", done[-1], t0)
    slowest = median([run.slowest() for run in done])
    goal("slowest (seconds)", slowest, 30 if not options.quick else 30 * t0 / 20)
    picture(options, "containerd", title, "each agent's share of verified pieces, last run",
            [Panel("shoal", lines_of(done[-1]))], t0)


def pull(field, image):
    """One crowd of containerds. CPU is that of agents and containerds together."""
    Machine.wait_until_quiet()
    reference = field.registry.reference(image)
    containerds = field.rig.containerds
    watched = [process for agent in field.agents
               for process in (agent.process, containerds[agent.host.name].process)]
    cpu = sum(process.cpu_seconds() for process in watched)
    log, sent = field.registry.log_size(), field.registry.host.sent_bytes()
    came = received(field.hosts)
    machine, started = Machine(), time.monotonic()
    poll = Poll(field.agents, {blob.digest: blob.size for blob in image.layers}, 0.5)
    pulls = {name: one.start_pull(reference) for name, one in containerds.items()}
    took, failed = {}, {}
    while len(took) + len(failed) < len(pulls) and time.monotonic() - started < 280:
        time.sleep(0.02)
        for name, program in pulls.items():
            if not program.running and name not in took and name not in failed:
                if program.popen.returncode == 0:
                    took[name] = time.monotonic() - started
                else:
                    failed[name] = program.text()[-300:]
    failed.update({name: "not within 280 s" for name in pulls
                   if name not in took and name not in failed})
    idle = machine.idle()
    failed.update({name: "the image is not complete" for name in took
                   if not containerds[name].is_complete(reference)})
    return Run(took, failed, field.upstream_bytes(log) / image.size,
               sum(process.cpu_seconds() for process in watched) - cpu, idle, poll.stop(took),
               (field.registry.host.sent_bytes() - sent) / image.size,
               (received(field.hosts) - came) / len(field.hosts) / image.size)


def first_byte(options):
    """How much later than the lead's client a follower's client has its first byte."""
    count, size, blobs = options.scale(4, 4, 24, quick_hosts=3, quick_mib=2)
    mbit = options.rate(200)
    blobs = 5 if options.quick else max(20, blobs)
    for name, server in (("index server", True), ("LAN only", False)):
        with Field(count, None, index_server=server) as field:
            say(f"{blobs} cold blobs of {size // MIB} MiB, {count} hosts, unshaped, with {name}")
            field.fresh()
            report(field, [one_blob(field, size) for _ in range(blobs)])


def one_blob(field, size):
    """(the lead's ms to the first byte, [followers' ms], hosts that asked the upstream)"""
    blob = field.push(size)
    gets = Crowd(field.hosts, field.path(blob)).run(30)
    assert not any(get.error for get in gets), [get.error for get in gets]
    upstream = [sum(entry["from_upstream"] for entry in agent.transfers(blob.digest))
                for agent in field.agents]
    first = [get.first_byte * 1000 for get in gets]
    lead = upstream.index(max(upstream))
    return (first[lead], [first[at] for at, count in enumerate(upstream) if count == 0],
            sum(1 for count in upstream if count))


def report(field, measured):
    leads = [own for own, _, _ in measured]
    later = [each - own for own, followers, _ in measured for each in followers]
    say(f"  the lead's first byte: median {median(leads):.2f} ms; hosts that asked the upstream: "
        f"{median([asked for _, _, asked in measured]):g} of {len(field.agents)} at the median, "
        f"at most {max(asked for _, _, asked in measured)}")
    if not later:
        say("  no host followed: each fetched from the upstream itself")
        return
    say(f"  a follower's: median {median(later):+.2f} ms later, p95 {rank(later, 0.95):+.2f}, "
        f"{len(later)} cases")
    goal("follower's first byte after the lead's (ms, median)", median(later), 10)
