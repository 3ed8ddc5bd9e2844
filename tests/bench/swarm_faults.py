"""Crowds that are disturbed: waves of an update, holders and leads that die in the middle."""

import signal
import threading
import time

from .common import median, say
from .picture import Line, Panel
from .swarm_cases import goal, line, lines_of, picture
from .swarm_field import MIB, Field, blob_share
from .swarm_run import medians

WAVES = 5


def rolling(options):
    """20 % of the hosts pull at a time; each wave begins when the one before it is done."""
    count, size, runs = options.scale(30, 64, 1, quick_hosts=10)
    mbit = options.rate(100)
    every = count // WAVES
    waves = [[] for _ in range(WAVES)]
    lines = []
    with Field(count, mbit) as field:
        t0 = field.seconds(size)
        title = f"rolling update, {WAVES} waves of {every} hosts, {size // MIB} MiB, {mbit} Mbit/s"
        say(f"{title}; T0 {t0:.2f} s; {runs} runs; LAN only; the first wave is cold")
        field.shape(True)
        for _ in range(runs):
            field.fresh()
            blob, begun, lines = field.push(size), time.monotonic(), []
            for number, runs_of_wave in enumerate(waves):
                offset = time.monotonic() - begun
                run = field.crowd(field.agents[number * every:(number + 1) * every], blob)
                runs_of_wave.append(run)
                line(f"wave {number + 1}", run, t0)
                colour = f"hsl({number * 290 // WAVES},70%,40%)"
                lines += [Line(f"wave {number + 1}" if at == 0 else "",
                               [(seconds + offset, share) for seconds, share in points], colour)
                          for at, points in enumerate(run.progress.values())]
            field.restart_registry()
    for number, runs_of_wave in enumerate(waves[1:], 2):
        p50, _, slowest = medians(runs_of_wave)
        goal(f"wave {number}, p50 (T0)", p50 / t0, 1.05)
        goal(f"wave {number}, slowest (T0)", slowest / t0, 1.05)
    picture(options, "rolling", title, "each host's share of verified pieces, last run",
            [Panel("shoal", lines)], t0)


# --- holders that fail ---

_DROP = """
table inet blackhole {
  chain in { type filter hook input priority 0; iifname "eth0" drop; }
  chain out { type filter hook output priority 0; oifname "eth0" drop; }
}
"""


def blackhole(agent):
    """All packets vanish, and nobody is told."""
    path = agent.host.write("/run/blackhole.nft", _DROP)
    agent.host.run("nft", "-f", "/run/blackhole.nft")
    return path


def stop(agent):
    agent.process.signal(signal.SIGSTOP)


def kill(agent):
    agent.kill()


def repair(agent):
    """Undoes a fault, so that the agent can be ended and started as all others."""
    agent.host.run("nft", "delete", "table", "inet", "blackhole", check=False)
    if agent.process.running:
        agent.process.signal(signal.SIGCONT)


class At:
    """Does something once, when the fetchers have verified a share of the blob at the mean."""

    def __init__(self, share, act):
        self._share, self._act = share, act
        self.when = None

    def __call__(self, now, share):
        if self.when is None and share >= self._share:
            self.when = now
            threading.Thread(target=self._act).start()


def trouble(options):
    """A quarter of the holders fails when the others have 40 % of the blob."""
    count, size, runs = options.scale(16, 64, 1)
    mbit = options.rate(100)
    faults = {"undisturbed": None, "blackholed": blackhole, "stopped": stop, "killed": kill}
    done = {name: [] for name in faults}
    with Field(count, mbit) as field:
        t0 = field.seconds(size)
        holders, fetchers = field.agents[:count // 2], field.agents[count // 2:]
        victims = holders[:max(1, len(holders) // 4)]
        title = (f"{len(holders)} holders, {len(fetchers)} fetchers, {size // MIB} MiB, "
                 f"{mbit} Mbit/s")
        say(f"{title}; T0 {t0:.2f} s; {runs} runs; {len(victims)} holders fail at 40 %: nft drop, "
            "SIGSTOP, kill -9; LAN only")
        field.shape(True)
        for _ in range(runs):
            for name, act in faults.items():
                field.fresh()
                blob = field.push(size)
                field.fill(holders, blob)
                sent = []

                def fail(act=act, sent=sent):
                    for victim in victims if act else ():
                        act(victim)
                        sent.append(victim.host.sent_bytes())

                at = At(0.4, fail)
                run = field.crowd(fetchers, blob, on_tick=at, check=True)
                line(name, run, t0)
                if act and at.when:
                    run.marks = [(at.when, name)]
                    after = sum(victim.host.sent_bytes() for victim in victims) - sum(sent)
                    say(f"    {name} after {at.when:.2f} s; thereafter their links carried away "
                        f"{after / size:.3f} blobs")
                for victim in victims:
                    repair(victim)
                done[name].append(run)
                field.restart_registry()
    added(done, "undisturbed", t0, options, "trouble", title)


def added(done, base, t0, options, name, title):
    """What each fault added to the times of the runs without."""
    p50, _, slowest = medians(done[base])
    for fault, runs in done.items():
        if fault != base:
            with_p50, _, with_slowest = medians(runs)
            say(f"  {fault}: added {with_p50 - p50:+.2f} s at the median")
            goal(f"{fault}: seconds added to the slowest", with_slowest - slowest, 1.0)
            goal(f"{fault}: failed pulls", sum(len(run.failed) for run in runs), 0)
    picture(options, name, title, "each fetcher's share of verified pieces, last run",
            [Panel(fault, lines_of(runs[-1]), runs[-1].marks) for fault, runs in done.items()], t0)


# --- leads that die ---

class LeadKiller(threading.Thread):
    """Finds the agent that fetches most from the upstream, and kills it at a share of the blob."""

    def __init__(self, agents, blob, share):
        super().__init__(daemon=True)
        self._agents, self._blob, self._share = agents, blob, share
        self._end = threading.Event()
        self._begun = time.monotonic()
        self.lead, self.when, self.at = None, None, 0.0
        self.start()

    def run(self):
        while self.lead is None and not self._end.wait(0.1):
            led = [(entry["from_upstream"], number) for number, agent in enumerate(self._agents)
                   for entry in agent.transfers(self._blob.digest)[:1]]
            if led and max(led)[0] > 0:
                self.lead = self._agents[max(led)[1]]
        while self.lead and not self._end.wait(0.03):
            self.at = blob_share(self.lead.blob(self._blob.digest) or {})
            if self.at >= self._share:
                self.lead.kill()
                self.when = time.monotonic() - self._begun
                return

    def stop(self):
        self._end.set()
        self.join(10)


def lead(options):
    """A cold blob, and kill -9 for who leads."""
    count, size, runs = options.scale(16, 64, 1)
    mbit = options.rate(100)
    done = {"undisturbed": [], **{f"killed at {share} %": [] for share in (10, 50, 90)}}
    with Field(count, mbit, index_server=True) as field:
        t0 = field.seconds(size)
        title = f"cold crowd, {count} fetchers, {size // MIB} MiB, {mbit} Mbit/s, lead killed"
        say(f"{title}; T0 {t0:.2f} s; {runs} runs; with index server; the lead's own client does "
            "not count")
        field.shape(True)
        for _ in range(runs):
            for name, of_name in done.items():
                field.fresh()
                blob = field.push(size)
                share = int(name.split()[-2]) / 100 if of_name is not done["undisturbed"] else 2
                killer = LeadKiller(field.agents, blob, share)
                run = field.crowd(field.agents, blob, field.registry, check=True)
                killer.stop()
                if killer.when is not None:
                    run.took.pop(killer.lead.host.name, None)
                    run.failed.pop(killer.lead.host.name, None)
                    run.marks = [(killer.when, f"{killer.lead.host.name} killed")]
                line(name, run, t0)
                if share < 1:
                    say(f"    {run.marks[0][1]} after {killer.when:.2f} s, with {killer.at:.0%}"
                        if run.marks else "    nobody was killed: no lead was found in time")
                of_name.append(run)
                field.restart_registry()
    for name, of_name in done.items():
        goal(f"{name}: upstream (blobs)", median([run.upstream for run in of_name]), 1.15)
    added(done, "undisturbed", t0, options, "lead", title)
