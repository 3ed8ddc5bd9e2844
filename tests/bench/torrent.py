"""The rival: a libtorrent swarm of the same blob on the same hosts and links.

As a program, one participant: `python3 -m tests.bench.torrent FILE.torrent FOLDER PEER...`. It
says `ready`, begins when it reads `go`, tells its progress, and stays to upload until it is ended.
"""

import os
import pathlib
import selectors
import subprocess
import sys
import time

from .common import ROOT
from .swarm_field import prefer, received
from .swarm_run import Machine, Run
from .warm import WarmMemory

PORT = 6881
PIECE = 256 << 10
SLOTS = 8
SETTINGS = {
    "listen_interfaces": f"0.0.0.0:{PORT}", "enable_dht": False, "enable_lsd": False,
    "enable_upnp": False, "enable_natpmp": False, "unchoke_slots_limit": SLOTS,
    # TCP only, in plain, and no waiting between connects: what is best for it on a LAN.
    "enable_outgoing_utp": False, "enable_incoming_utp": False, "connection_speed": 1000,
    "in_enc_policy": 2, "out_enc_policy": 2, "alert_mask": 64,  # status notifications
}


def make_torrent(blob, folder):
    """FOLDER/blob and FOLDER/blob.torrent."""
    import libtorrent

    (folder / "blob").write_bytes(blob.data)
    files = libtorrent.file_storage()
    files.add_file("blob", blob.size)
    torrent = libtorrent.create_torrent(files, PIECE, libtorrent.create_torrent.v1_only)
    libtorrent.set_piece_hashes(torrent, str(folder))
    path = folder / "blob.torrent"
    path.write_bytes(libtorrent.bencode(torrent.generate()))
    return path


def take_part(torrent, folder, peers):
    import libtorrent

    session = libtorrent.session(SETTINGS)
    parameters = libtorrent.add_torrent_params()
    parameters.ti = libtorrent.torrent_info(torrent)
    parameters.save_path = folder
    parameters.flags &= ~(libtorrent.torrent_flags.auto_managed | libtorrent.torrent_flags.paused)
    first = (pathlib.Path(folder) / "blob").exists()
    if first:
        parameters.flags |= libtorrent.torrent_flags.seed_mode
        handle = session.add_torrent(parameters)
    print("ready", flush=True)
    sys.stdin.readline()
    if not first:
        handle = session.add_torrent(parameters)
        for peer in peers:
            handle.connect_peer((peer, PORT))
    pieces, done, told = parameters.ti.num_pieces(), first, 0.0
    while True:
        session.wait_for_alert(100)
        for alert in session.pop_alerts():
            if isinstance(alert, libtorrent.torrent_finished_alert) and not done:
                done = True
                print(f"done {time.monotonic()}", flush=True)
        if time.monotonic() - told > 0.4:
            told = time.monotonic()
            status = handle.status()
            print(f"have {told} {1.0 if first else status.num_pieces / pieces} "
                  f"{status.total_payload_upload}", flush=True)


class Swarm:
    """A participant on each host; the first holds the blob."""

    def __init__(self, first, hosts, blob):
        self.first, self.hosts, self.blob = first, hosts, blob
        self._programs = {}

    def run(self, timeout):
        made = make_torrent(self.blob, self._folder(self.first))
        for host in [self.first, *self.hosts]:
            self._start(host, made)
        with selectors.DefaultSelector() as selector:
            for host, program in self._programs.items():
                assert program.stdout.readline() == b"ready\n", \
                    (host.folder / "torrent.log").read_text()
                selector.register(program.stdout, selectors.EVENT_READ, host)
            try:
                with WarmMemory(len(self.hosts) * self.blob.size):
                    Machine.wait_until_quiet()
                    return self._crowd(selector, timeout)
            finally:
                self._end()

    def _folder(self, host):
        folder = host.folder / "torrent"
        folder.mkdir(exist_ok=True)
        return folder

    def _start(self, host, torrent):
        peers = [other.address for other in [self.first, *self.hosts] if other is not host]
        with open(host.folder / "torrent.log", "ab") as log:
            self._programs[host] = subprocess.Popen(
                host.command("/usr/bin/python3", "-B", "-m", "tests.bench.torrent", torrent,
                             self._folder(host), *peers),
                env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                bufsize=0, start_new_session=True)
        prefer(self._programs[host])

    def _crowd(self, selector, timeout):
        cpu, machine = self._cpu(), Machine()
        sent, came = self.first.sent_bytes(), received(self.hosts)
        started = time.monotonic()
        for program in self._programs.values():
            program.stdin.write(b"go\n")
            program.stdin.flush()
        took, progress, uploaded = {}, {host.name: [(0.0, 0.0)] for host in self.hosts}, 0
        while len(took) < len(self.hosts) and time.monotonic() - started < timeout:
            for key, _ in selector.select(0.1):
                line = key.fileobj.readline().split()
                if not line:
                    raise RuntimeError(f"libtorrent ended on {key.data.name}")
                seconds = float(line[1]) - started
                if key.data is self.first:
                    uploaded = int(line[3])
                elif line[0] == b"done":
                    took[key.data.name] = seconds
                    progress[key.data.name].append((seconds, 1.0))
                elif key.data.name not in took:
                    progress[key.data.name].append((seconds, float(line[2])))
        failed = {host.name: f"not within {timeout:.0f} s" for host in self.hosts
                  if host.name not in took}
        return Run(took, failed, uploaded / self.blob.size, self._cpu() - cpu, machine.idle(),
                   progress, (self.first.sent_bytes() - sent) / self.blob.size,
                   (received(self.hosts) - came) / len(self.hosts) / self.blob.size)

    def _cpu(self):
        total = 0
        for program in self._programs.values():
            fields = pathlib.Path(f"/proc/{program.pid}/stat").read_text().rsplit(")", 1)[1]
            total += sum(map(int, fields.split()[11:13]))
        return total / 100

    def _end(self):
        for host, program in self._programs.items():
            program.kill()
            program.wait()
            program.stdin.close()
            program.stdout.close()
            for path in self._folder(host).iterdir():
                path.unlink()
        self._programs = {}


if __name__ == "__main__":
    take_part(sys.argv[1], sys.argv[2], sys.argv[3:])
