"""An agent on a host: its configuration, its life, and what it says about itself."""

import json
import os
import pathlib
import time

from . import web
from .containerd import SOCKET
from .process import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("SHOAL", ROOT / "build/release/agent/shoal"))
CONFIG = "/etc/shoal/shoal.toml"
DATA = "/var/lib/shoal"
MIRROR, PEER, ADMIN = 7380, 7381, 7382

# Tests must not wait for the pace of a quiet network; the rest is as an operator gets it.
_DEFAULTS = {
    "agent": {"log_level": "debug"},
    "room": {"open": True},
    "index": {"sync_interval": "1s"},
    "lan": {"interval": "1s"},
    "store": {"containerd": ""},
}


def _toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    return json.dumps(value)


def to_toml(sections, registries=()):
    lines = []
    for section, keys in sections.items():
        for table in keys if isinstance(keys, list) else [keys]:
            lines.append(f"[[{section}]]" if isinstance(keys, list) else f"[{section}]")
            lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
    for registry in registries:
        lines.append("[[registry]]")
        lines += [f"{key} = {_toml(value)}" for key, value in registry.items()]
    return "\n".join(lines) + "\n"


def upstream(registry, **more):
    """A [[registry]] table for a rig's registry."""
    table = {"host": registry.name, "url": registry.url}
    if registry.ca:
        table["ca"] = str(registry.ca)
    return {**table, **more}


class Agent:
    """The agent of `host`. Sections override the defaults: `fetch={"stall": "200ms"}`.

    Its id is that of the host, so an agent that is killed and started again is the same one.
    """

    def __init__(self, host, registries=(), verb="run", **sections):
        self.host = host
        self._verb = verb
        self.process = None
        self.clock = 0  # seconds by which its clock is ahead
        self.registries = [table if isinstance(table, dict) else upstream(table)
                           for table in registries]
        self.sections = {name: dict(keys) for name, keys in _DEFAULTS.items()}
        if host.path(SOCKET).exists():
            self.sections["store"]["containerd"] = SOCKET
        self.configure(**sections)

    def configure(self, **sections):
        for name, keys in sections.items():
            if isinstance(keys, list):  # [[name]] tables
                self.sections[name] = keys
            else:
                self.sections.setdefault(name, {}).update(keys)
        self.host.write(CONFIG, to_toml(self.sections, self.registries))

    # --- life ---

    def start(self, wait=True):
        # The library alone: its wrapper will not start where a killed one of the same pid left its
        # semaphore.
        shifted = [] if self.clock == 0 else [
            "env", "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1", f"FAKETIME={self.clock:+d}s"]
        self.process = self.host.start(*shifted, BINARY, self._verb, "--config", CONFIG,
                                       log="agent.log")
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=15):
        wait_until(f"agent {self.host.name} is ready", self.is_ready, timeout)

    def is_ready(self):
        self.process.require_running()
        try:
            return self.admin("GET", "/readyz").status == 200
        except OSError:
            return False

    def kill(self):
        """kill -9."""
        return self.process.kill()

    def stop(self):
        """SIGTERM; returns the exit status."""
        return self.process.stop(timeout=15)

    def forget_blobs(self):
        """Empties the data directory of an agent that is not running; it stays who it is."""
        self.host.run("find", DATA, "-mindepth", "1", "!", "-name", "identity", "-delete")

    def log(self):
        return (self.host.folder / "agent.log").read_text(errors="replace")

    # --- what it says ---

    def admin(self, method, path, **options):
        return web.request(self.host, ADMIN, method, path, **options)

    def get(self, path):
        answer = self.admin("GET", path)
        assert answer.status == 200, (path, answer)
        return answer.json()

    def status(self):
        return self.get("/v1/status")

    def bytes(self):
        """from_peers, from_upstream, to_peers, to_runtime."""
        return self.status()["bytes"]

    def peers(self):
        return self.get("/v1/peers")

    def blob(self, digest):
        """What it knows of a blob, or None."""
        answer = self.admin("GET", f"/v1/blobs/{digest}")
        return answer.json() if answer.status == 200 else None

    def has_blob(self, digest):
        """Whether it holds the whole blob itself, in its store or in containerd."""
        blob = self.blob(digest)
        return bool(blob) and (blob["state"] == "complete")

    def transfers(self, digest):
        """How it fetched a blob: entries of /v1/pulls, the newest first."""
        return [entry for entry in self.get("/v1/pulls")
                if entry.get("digest") == digest and "why" in entry]

    def metrics(self):
        """{name with labels: value}."""
        text = self.admin("GET", "/metrics").body.decode()
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#"]
        return {name: float(value) for name, value in lines}

    def wait_peers(self, count, timeout=15):
        """Waits until it knows `count` living peers."""
        wait_until(f"{self.host.name} knows {count} peers",
                   lambda: self.status()["peers"]["alive"] >= count, timeout)

    def wait_holders(self, digest, count, timeout=15):
        """Waits until it knows `count` others that hold the blob."""
        def known():
            blob = self.blob(digest)
            return blob and len(blob.get("holders", [])) >= count
        wait_until(f"{self.host.name} knows {count} holders of {digest}", known, timeout)

    # --- what it does ---

    def verb(self, *arguments, check=False, timeout=60, **options):
        """`shoal <arguments>` on the host."""
        return self.host.run(BINARY, *arguments, check=check, timeout=timeout, **options)

    def mirror(self, method, path, ns=None, headers=None, **options):
        """A request to the mirror, as a runtime on the host sends it."""
        if ns:
            path += ("&" if "?" in path else "?") + f"ns={ns}"
        return web.request(self.host, MIRROR, method, path, headers, **options)

    def get_blob(self, registry, image, blob, headers=None, **options):
        return self.mirror("GET", f"/v2/{image.repository}/blobs/{blob.digest}", registry.name,
                           headers, **options)

    def get_manifest(self, registry, image, reference=None, method="GET", **options):
        return self.mirror(method, f"/v2/{image.repository}/manifests/{reference or image.tag}",
                           registry.name, {"Accept": "*/*"}, **options)

    def open_blob(self, registry, image, blob, timeout=60.0):
        """Starts a GET; returns the connection and the response, its body unread."""
        connection = web.Connection(self.host, MIRROR, timeout=timeout)
        connection.request("GET", f"/v2/{image.repository}/blobs/{blob.digest}?ns={registry.name}")
        return connection, connection.getresponse()

    def fill(self, registry, image):
        """Pulls every part of the image through the mirror, as a runtime would."""
        for manifest in {image.top.digest, image.manifest.digest}:
            assert self.get_manifest(registry, image, manifest).status == 200
        assert self.get_manifest(registry, image).status == 200
        for blob in image.blobs:
            answer = self.get_blob(registry, image, blob, timeout=300)
            assert answer.status == 200 and answer.body == blob.data, (blob.digest, answer.status)
        return time.monotonic()
