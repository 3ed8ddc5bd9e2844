"""What the benches share: the machine, medians, blobs, the client, nginx."""

import json
import pathlib
import platform
import statistics

from tests.functional.rig.identity import Identity
from tests.functional.rig.image import Blob
from tests.functional.rig.process import run, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
GIB = 1 << 30


def machine():
    cpus = [line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text()
            .splitlines() if line.startswith("model name")]
    memory = pathlib.Path("/proc/meminfo").read_text().split()[1]
    return (f"{len(cpus)} x {cpus[0]}, {int(memory) / 2**20:.0f} GiB, "
            f"kernel {platform.release()}; TCP congestion control cubic")


def say(text=""):
    print(text, flush=True)


def median(values):
    return statistics.median(values)


def spread(values):
    return f"{median(values):.3f} [{min(values):.3f} .. {max(values):.3f}]"


def random_blob(size):
    """Bytes that nothing can compress; made quickly."""
    with open("/dev/urandom", "rb") as source:
        return Blob(source.read(size), "application/octet-stream")


class Sink:
    """The client of every bench: sink.cc, built once."""

    def __init__(self):
        self.binary = ROOT / "build/bench/sink"
        self.binary.parent.mkdir(parents=True, exist_ok=True)
        source, header = (pathlib.Path(__file__).with_name(name)
                          for name in ("sink.cc", "connection.h"))
        newest = max(source.stat().st_mtime, header.stat().st_mtime)
        if not self.binary.exists() or self.binary.stat().st_mtime < newest:
            run("g++", "-O2", "-std=c++20", "-o", self.binary, source, "-lssl", "-lcrypto",
                "-pthread")

    def get(self, host, port, path, address="127.0.0.1", identity=None, headers=(), connections=1,
            repeat=1):
        """{"bytes", "seconds", "status"} of `connections` x `repeat` GETs from `host`."""
        options = ["--connections", connections, "--repeat", repeat]
        if identity:
            options += ["--cert", identity.certificate, "--key", identity.key]
        for header in headers:
            options += ["--header", header]
        done = host.run(self.binary, *options, address, port, path, timeout=600)
        return json.loads(done.stdout)


_NGINX = """
worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_requests 100000;
  root {root};
  server {{ listen 8080; }}
  server {{
    listen 8443 ssl;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    ssl_certificate {identity}/certificate.pem;
    ssl_certificate_key {identity}/key.pem;
  }}
}}
"""


class Nginx:
    """nginx on a host: plain on 8080, TLS 1.3 with the same cipher and kind of key on 8443."""

    def __init__(self, host, blob):
        folder = host.folder / "nginx"
        (folder / "root").mkdir(parents=True)
        folder.chmod(0o755)
        (folder / "root" / "blob").write_bytes(blob.data)
        for path in (host.folder.parent, host.folder, folder / "root"):
            path.chmod(0o755)
        Identity(folder / "identity")
        (folder / "nginx.conf").write_text(_NGINX.format(
            folder=folder, root=folder / "root", identity=folder / "identity"))
        self.process = host.start("nginx", "-c", folder / "nginx.conf", "-p", folder,
                                  log="nginx.log")
        wait_until("nginx listens", lambda: self.process.require_running() and self._listens(host))

    @staticmethod
    def _listens(host):
        try:
            host.connect(8080).close()
            return True
        except OSError:
            return False

    def pids(self):
        children = run("ps", "-o", "pid=", "--ppid", self.process.pid).stdout.split()
        return [self.process.pid, *map(int, children)]


def cpu_seconds(pids):
    """User and system time of processes so far."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / 100
