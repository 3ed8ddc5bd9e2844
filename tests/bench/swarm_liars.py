"""Holders that lie. As a program, one of them: `python3 -m tests.bench.swarm_liars LIE BLOB`."""

import pathlib
import socket
import sys
import tempfile

from tests.functional.rig.identity import base64url
from tests.functional.rig.image import Blob
from tests.functional.rig.liar import Liar, chain_states
from tests.functional.rig.process import wait_until

from .common import ROOT, say
from .picture import Panel
from .swarm_cases import goal, line, lines_of, picture
from .swarm_field import MIB, Field, prefer

PIECE = 1 << 20
HOLDERS = 16
PERCENT = (0, 1, 10, 25, 50)


def inverted(blob):
    """As long as the blob, and none of it."""
    return blob.data.translate(bytes(range(255, -1, -1)))


def wrong_bytes(liar, blob):
    data = inverted(blob)
    liar.serve_bytes = lambda handler, digest: liar.send(handler, data)


def one_wrong_byte_a_piece(liar, blob):
    data = bytearray(blob.data)
    for at in range(PIECE // 2, len(data), PIECE):
        data[at] ^= 1
    liar.serve_bytes = lambda handler, digest: liar.send(handler, bytes(data))


def consistent_lie(liar, blob):
    """A chain and bytes that fit each other, and not the digest."""
    data = inverted(blob)
    document = liar.map_document(blob, data)
    liar.serve_bytes = lambda handler, digest: liar.send(handler, data)
    liar.serve_map = lambda handler, digest, query: handler.answer(200, document)


def wrong_chain(liar, blob):
    """Right bytes under a chain of other bytes."""
    document = liar.map_document(blob)
    document["chain"] = base64url(b"".join(chain_states(inverted(blob), PIECE)))
    liar.serve_map = lambda handler, digest, query: handler.answer(200, document)


def silent(liar, blob):
    """Claims everything and sends nothing."""
    liar.serve_bytes = lambda handler, digest: liar.hang()


LIES = {lie.__name__: lie for lie in
        (wrong_bytes, consistent_lie, wrong_chain, one_wrong_byte_a_piece, silent)}


class _Here:
    """The host that this program runs on, as Liar knows a host."""

    def __init__(self, address):
        self.address = address
        self.folder = pathlib.Path(tempfile.mkdtemp(dir="/run"))

    @staticmethod
    def listen(port):
        return socket.create_server(("", port), backlog=64)


def be(name, path, address):
    blob = Blob(pathlib.Path(path).read_bytes(), "application/octet-stream")
    liar = Liar(_Here(address), [blob], piece=PIECE)
    honest = liar.map_document(blob)
    liar.serve_map = lambda handler, digest, query: handler.answer(200, honest)
    LIES[name](liar, blob)
    liar.closing.wait()


def start(field, blob):
    """A liar on each of the field's strangers, each with the next lie."""
    if not field.strangers:
        return
    path = field.rig.folder / "blob"
    path.write_bytes(blob.data)
    for number, host in enumerate(field.strangers):
        name = list(LIES)[number % len(LIES)]
        program = host.start("env", f"PYTHONPATH={ROOT}", "/usr/bin/python3", "-B", "-m",
                             "tests.bench.swarm_liars", name, path, host.address, log="liar.log")
        prefer(program)
        wait_until("the liar listens", lambda host=host, program=program:
                   program.require_running() and listens(host), 30)


def listens(host):
    try:
        host.connect(7381, host.address, 2).close()
        return True
    except OSError:
        return False


def hostile(options):
    """Some of the 16 holders lie; the registry is there."""
    fetchers, size, _ = options.scale(4, 64, 1, quick_hosts=2, quick_mib=16)
    mbit = options.rate(100)
    title = f"{HOLDERS} holders, {fetchers} fetchers, {size // MIB} MiB, {mbit} Mbit/s"
    say(f"{title}; LAN and static; liars take turns at: {', '.join(LIES)}")
    honest, panels = None, []
    for percent in PERCENT:
        liars = max(1, round(HOLDERS * percent / 100)) if percent else 0
        name = f"{percent} %: {liars} lie"
        with Field(HOLDERS - liars + fetchers, mbit,
                   strangers=[f"liar{number}" for number in range(liars)]) as field:
            t0 = field.seconds(size)
            field.shape(True)
            field.fresh()
            blob = field.push(size)
            holders, pullers = field.agents[:-fetchers], field.agents[-fetchers:]
            field.fill(holders, blob)
            start(field, blob)
            for agent in pullers:
                agent.wait_holders(blob.digest, HOLDERS, timeout=90)
            run = field.crowd(pullers, blob, check=True)
            wasted = field.wasted(pullers, blob) / (fetchers * size)
        honest = honest or run.came
        line(name, run, t0)
        panels.append(Panel(name, lines_of(run)))
        say(f"    fetchers threw away {wasted:.1%} of the blob, by their own count; their links "
            f"carried {run.came / honest - 1:+.1%} against the honest run")
        if liars:
            goal(f"{percent} %: extra bytes, by the fetchers' own count", wasted, 0.05)
            goal(f"{percent} %: failed pulls or wrong bytes", len(run.failed), 0)
    picture(options, "hostile", title, "each fetcher's share of verified pieces", panels, t0)


if __name__ == "__main__":
    be(*sys.argv[1:])
