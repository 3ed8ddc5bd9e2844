"""The Rig: makes hosts and what runs on them, and ends all of it."""

import atexit
import contextlib
import os
import pathlib
import shutil
import sys
import tempfile

from .agent import Agent
from .containerd import Containerd
from .network import Network
from .process import RigError
from .registry import Registry


class Rig:
    """Use with `with`; whatever happens, nothing stays behind."""

    def __init__(self, folder=None):
        if os.geteuid() != 0:
            raise RigError("network namespaces need root")
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="shoal-rig-"))
        self.agents = []
        self.containerds = {}
        self._closed = False
        self._exit = contextlib.ExitStack()
        self._exit.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.network = Network(self.folder)
        self._exit.callback(self.network.close)
        atexit.register(self.close)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is not None and not isinstance(error, KeyboardInterrupt):
            self.show_logs()
        self.close()

    def close(self):
        if not self._closed:
            self._closed = True
            self._exit.close()
            atexit.unregister(self.close)

    def on_close(self, call, *arguments):
        self._exit.callback(call, *arguments)

    def show_logs(self, lines=60):
        """Prints the end of every log, for a failed test."""
        for log in sorted(self.folder.rglob("*.log")):
            text = log.read_text(errors="replace").splitlines()
            if text and log.name != "registry.log":
                print(f"--- {log.relative_to(self.folder)} (last {lines} lines)", file=sys.stderr)
                print("\n".join(text[-lines:]), file=sys.stderr)

    # --- what runs on it ---

    def host(self, name):
        return self.network.hosts.get(name) or self.network.add_host(name)

    def registry(self, name="reg.test", host="reg", **options):
        return Registry(self.host(host), name, **options)

    def containerd(self, name, **options):
        self.containerds[name] = Containerd(self.host(name), **options)
        return self.containerds[name]

    def index_server(self, name, **sections):
        """`shoal index` on host `name`."""
        server = Agent(self.host(name), (), verb="index", **sections)
        self.agents.append(server)
        return server.start()

    def agent(self, name, registries=(), start=True, **sections):
        """An agent in the open room on host `name`; `registries` are those it may ask."""
        agent = Agent(self.host(name), registries, **sections)
        self.agents.append(agent)
        if start:
            agent.start()
        return agent
