"""Crowds that nothing disturbs: one holder, and a blob that nobody holds."""

import dataclasses
import pathlib

from .common import median, say
from .picture import Line, Panel, draw
from .swarm_field import MIB, Field
from .swarm_run import medians
from .torrent import SLOTS, Swarm


@dataclasses.dataclass(frozen=True)
class Options:
    quick: bool
    runs: int  # or None: as the case thinks fit
    hosts: int
    mib: int
    mbit: int
    rival: bool
    folder: pathlib.Path  # of pictures

    def rate(self, mbit):
        return self.mbit or mbit

    def scale(self, hosts, mib, runs, quick_hosts=8, quick_mib=32):
        """(hosts, bytes, runs) of a case."""
        if self.quick:
            hosts, mib, runs = quick_hosts, quick_mib, 1
        return self.hosts or hosts, (self.mib or mib) * MIB, self.runs or runs


def _figures(name, times, t0, upstream, cpu, failed):
    p50, p99, slowest = (f"{seconds / t0:5.3f} T0 {seconds:6.2f} s" for seconds in times)
    return (f"  {name:<19} p50 {p50}   p99 {p99}   slowest {slowest}   upstream {upstream:5.2f}   "
            f"CPU {cpu:5.1f} s   failed {failed}")


def line(name, run, t0):
    """What one run showed."""
    say(_figures(name, (run.p50(), run.p99(), run.slowest()), t0, run.upstream, run.cpu,
                 len(run.failed)) + f"   sent {run.sent:5.2f}   "
        f"came {run.came:5.3f}   idle {run.idle:3.0%}")
    for host, why in list(run.failed.items())[:3]:
        say(f"    {host} failed: {why}")


def summary(name, runs, t0):
    say(_figures(name, medians(runs), t0, median([run.upstream for run in runs]),
                 median([run.cpu for run in runs]), sum(len(run.failed) for run in runs)))


def goal(what, value, most):
    met = "met" if value <= most else f"MISSED by {value - most:.3f}"
    say(f"  goal {what} <= {most}: {value:.3f}, {met}")


def lines_of(run):
    return [Line(host, points) for host, points in sorted(run.progress.items())]


def picture(options, name, title, subtitle, panels, t0):
    path = draw(options.folder / f"swarm-{name}.svg", title, subtitle, panels, t0)
    say(f"  picture {path}")


def compare(name, mine, rival, t0, goals):
    """Medians, ratios of pairs, goals: {"p50": most, ...}."""
    say(f"  medians of {len(mine)}:")
    summary(name, mine, t0)
    if rival:
        summary("libtorrent", rival, t0)
        for what, get in (("p50", lambda run: run.p50()), ("slowest", lambda run: run.slowest())):
            ratios = [get(one) / get(other) for one, other in zip(mine, rival)]
            say(f"  ratio {name}/libtorrent, {what}: {median(ratios):.3f} "
                f"[{min(ratios):.3f} .. {max(ratios):.3f}]")
    values = dict(zip(("p50", "p99", "slowest"), (part / t0 for part in medians(mine))))
    values["upstream"] = median([run.upstream for run in mine])
    for what, most in goals.items():
        goal(f"{what} (T0)" if what in ("p50", "slowest") else f"{what} (blobs)",
             values[what], most)


def panel_of(name, runs):
    return Panel(name, lines_of(runs[-1]))


def rival_panel(runs):
    name = f"libtorrent, {SLOTS} unchoke slots, 256 KiB pieces"
    return [panel_of(name, runs)] if runs else []


def rival_run(field, first, hosts, blob, options):
    if not options.rival:
        return []
    run = Swarm(first, hosts, blob).run(20 * field.seconds(blob.size) + 30)
    line("libtorrent", run, field.seconds(blob.size))
    return [run]


def holder(options):
    """One host has the blob, the registry is off, all others ask in the same moment."""
    count, size, runs = options.scale(16, 256, 3)
    mbit = options.rate(100)
    mine, rival = [], []
    with Field(count + 1, mbit) as field:
        t0 = field.seconds(size)
        title = f"one holder, {count} fetchers, {size // MIB} MiB, {mbit} Mbit/s"
        say(f"{title}; T0 {t0:.2f} s; {runs} runs; LAN discovery, no index server, no registry")
        first, *fetchers = field.agents
        field.shape(True)
        for _ in range(runs):
            field.fresh()
            blob = field.push(size)
            field.fill([first], blob)
            field.registry.stop()
            mine.append(field.crowd(fetchers, blob, first, upstream=False))
            line("shoal", mine[-1], t0)
            field.stop_agents()
            rival += rival_run(field, first.host, [agent.host for agent in fetchers], blob,
                               options)
            field.restart_registry()
    compare("shoal", mine, rival, t0, {"p50": 1.10, "slowest": 1.25})
    picture(options, "holder", title, "each host's share of verified pieces, last run",
            [panel_of("shoal", mine), *rival_panel(rival)], t0)


def cold(options):
    """Nobody has the blob; the registry's link is like all others."""
    count, size, runs = options.scale(16, 256, 3)
    mbit = options.rate(100)
    rival, panels = [], []
    for name, server, most in (("index server", True, 1.05), ("LAN only", False, 1.3)):
        mine = []
        with Field(count, mbit, index_server=server) as field:
            t0 = field.seconds(size)
            title = f"cold crowd, {count} fetchers, {size // MIB} MiB, {mbit} Mbit/s"
            say(f"{title}; T0 {t0:.2f} s; {runs} runs; with {name}")
            field.shape(True)
            for _ in range(runs):
                field.fresh()
                blob = field.push(size)
                mine.append(field.crowd(field.agents, blob, field.registry))
                line(f"shoal, {name}", mine[-1], t0)
                if len(rival) < runs:  # once for both
                    field.stop_agents()
                    rival += rival_run(field, field.registry.host, field.hosts, blob, options)
                field.restart_registry()
        compare(f"shoal, {name}", mine, rival, t0,
                {"p50": 1.15, "slowest": 1.30, "upstream": most})
        panels.append(panel_of(f"shoal, {name}", mine))
    picture(options, "cold", title, "each host's share of verified pieces, last run",
            panels + rival_panel(rival), t0)
