"""Hosts: namespaces on one bridge, with links that can be shaped and cut."""

import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

from .process import Process, RigError, run, wait_until

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000

# What a host sees of its own: an overlay over /etc, fresh /run, and plain directories (of a disk,
# for the containerd snapshotter) where containerd, podman and shoal keep things.
_HOLD = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1/over"
mkdir "$1/over/etc" "$1/over/etc.work" "$1/over/lib" "$1/over/lib.work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/over/etc,workdir=$1/over/etc.work" /etc
mount -t overlay overlay \
  -o "lowerdir=/var/lib,upperdir=$1/over/lib,workdir=$1/over/lib.work" /var/lib
for owner in containerd containers shoal; do
  mkdir -p "$1/lib/$owner" "/var/lib/$owner"
  mount --bind "$1/lib/$owner" "/var/lib/$owner"
done
mount -t tmpfs tmpfs /run
rm -rf /etc/containerd /etc/shoal
mkdir -p /etc/containerd/certs.d /etc/shoal /run/lock
hostname "$2"
: > /etc/resolv.conf
touch "$1/ready"
exec sleep infinity
"""


@contextlib.contextmanager
def network_namespace(path):
    """This thread's new sockets belong to the namespace at `path`."""
    mine = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    theirs = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(theirs, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            if _libc.setns(mine, _CLONE_NEWNET) != 0:
                os.abort()  # a thread in the wrong network must not go on
    finally:
        os.close(mine)
        os.close(theirs)


def _end_namespace(name):
    """Kills what runs in a network namespace, by id, and deletes it."""
    for pid in run("ip", "netns", "pids", name, check=False).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    run("ip", "netns", "del", name, check=False)


def _sweep():
    """Ends what a rig left behind that was itself killed with -9."""
    for line in run("ip", "netns").stdout.splitlines():
        name = re.fullmatch(r"shoal-(\d+)-\d+-\S+", line.split(" ")[0])
        if name and not pathlib.Path(f"/proc/{name[1]}").exists():
            _end_namespace(name[0])


class Host:
    """One host of a network."""

    def __init__(self, network, name, address):
        self.network = network
        self.name = name
        self.address = address
        self.namespace = f"{network.prefix}-{name}"
        self.folder = network.folder / name
        (self.folder / "over").mkdir(parents=True)
        self.holder = None
        self._programs = []

    def boot(self):
        self.holder = Process(
            ["unshare", "--net", "--mount", "--uts", "sh", "-c", _HOLD, "sh", self.folder,
             self.name],
            self.folder / "host.log")
        wait_until(f"host {self.name} is there",
                   lambda: self.holder.require_running() and (self.folder / "ready").exists())
        run("ip", "netns", "attach", self.namespace, self.holder.pid)
        self._connect()

    def _connect(self):
        outer, inner = self.name, "eth0"
        lan = self.network.namespace
        run("ip", "-n", lan, "link", "add", "name", outer, "type", "veth", "peer", "name", inner,
            "netns", self.namespace)
        run("ip", "-n", lan, "link", "set", "dev", outer, "master", "lan", "up")
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.namespace, "addr", "add", f"{self.address}/24", "brd", "+", "dev",
            inner)
        run("ip", "-n", self.namespace, "link", "set", inner, "up")
        self.run("sysctl", "-qw", "net.ipv4.tcp_congestion_control=cubic")

    # --- files ---

    def path(self, inside):
        """Where we find what the host calls `inside`."""
        return pathlib.Path(f"/proc/{self.holder.pid}/root{inside}")

    def write(self, inside, text, mode=0o644):
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    # --- programs ---

    def command(self, *command):
        return ["nsenter", "-t", str(self.holder.pid), "-n", "-m", "-u",
                "--", *(str(part) for part in command)]

    def run(self, *command, **options):
        return run(*self.command(*command), **options)

    def start(self, *command, log, **options):
        self._programs.append(Process(self.command(*command), self.folder / log, **options))
        return self._programs[-1]

    # --- network ---

    def inside(self):
        return network_namespace(f"/proc/{self.holder.pid}/ns/net")

    def connect(self, port, address="127.0.0.1", timeout=30.0):
        """A TCP connection that starts on this host."""
        with self.inside():
            return socket.create_connection((address, port), timeout)

    def listen(self, port, address="0.0.0.0"):
        """A listening TCP socket on this host; for servers that live in this process."""
        with self.inside():
            return socket.create_server((address, port), backlog=64)

    def shape(self, rate):
        """Limits both directions, for example to "200mbit"; None takes the limit away."""
        ends = [(self.network.namespace, self.name), (self.namespace, "eth0")]
        for namespace, device in ends:
            run("tc", "-n", namespace, "qdisc", "del", "dev", device, "root", check=False)
            if rate:
                run("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", "rate",
                    rate, "burst", "256k", "latency", "20ms")

    def link(self, up):
        """Pulls the plug, or puts it in."""
        run("ip", "-n", self.network.namespace, "link", "set", "dev", self.name,
            "up" if up else "down")

    def sent_bytes(self):
        """What this host has sent over its link, headers and all."""
        return self._link_count(8)

    def received_bytes(self):
        """What came to this host over its link, headers and all."""
        return self._link_count(0)

    def _link_count(self, field):
        for line in pathlib.Path(f"/proc/{self.holder.pid}/net/dev").read_text().splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == "eth0":
                return int(numbers.split()[field])
        raise RigError(f"{self.name} has no eth0")

    def connections(self, port):
        """Who has connections to a server's port on this host that are established now."""
        suffix, established = f":{port:04X}", "01"
        found = set()
        for table in ("tcp", "tcp6"):
            for line in pathlib.Path(f"/proc/{self.holder.pid}/net/{table}").read_text().splitlines():
                row = line.split()
                if row[1].endswith(suffix) and row[3] == established:
                    found.add(row[2])
        return found

    def close(self):
        if self.holder is None:
            return
        _end_namespace(self.namespace)
        for program in [*self._programs, self.holder]:
            program.kill()


class Network:
    """A bridge in a namespace of its own, and the hosts on it."""

    _count = 0

    def __init__(self, folder):
        Network._count += 1
        self.folder = folder
        self.prefix = f"shoal-{os.getpid()}-{Network._count}"
        self.namespace = f"{self.prefix}-lan"
        self.subnet = self._free_subnet()
        self.hosts = {}
        self.names = {}  # further names in /etc/hosts
        self._root_link = None
        _sweep()
        self._allow_cubic()
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "add", "lan", "type", "bridge", "mcast_snooping",
            "0")
        run("ip", "-n", self.namespace, "link", "set", "lan", "up")
        # Frames on the bridge are no business of netfilter; with it each costs more.
        run("ip", "netns", "exec", self.namespace, "sysctl", "-qw",
            "net.bridge.bridge-nf-call-iptables=0", check=False)

    @staticmethod
    def _free_subnet():
        taken = run("ip", "-4", "route").stdout
        for third in range(1, 255):
            if f"10.73.{third}." not in taken:
                return f"10.73.{third}"
        raise RigError("no free 10.73.x.0/24")

    @staticmethod
    def _allow_cubic():
        # The default may be bbr, which is very unfair when many send to one.
        path = pathlib.Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
        allowed = path.read_text().split()
        if "cubic" not in allowed:
            path.write_text(" ".join([*allowed, "cubic"]))

    def add_host(self, name):
        host = Host(self, name, f"{self.subnet}.{len(self.hosts) + 11}")
        self.hosts[name] = host  # first of all, so that close() finds it
        host.boot()
        self.refresh_names()
        return host

    def name(self, name, host):
        """All hosts know `name` as the address of `host`."""
        self.names[name] = host.address
        self.refresh_names()

    def refresh_names(self):
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        lines += [f"{host.address} {host.name}" for host in self.hosts.values()]
        lines += [f"{address} {name}" for name, address in self.names.items()]
        for host in self.hosts.values():
            host.write("/etc/hosts", "\n".join(lines) + "\n")

    def reach_from_here(self):
        """Gives this machine itself an address on the bridge, so that a browser reaches hosts."""
        self._root_link = f"sh{os.getpid()}-{Network._count}"[:15]
        run("ip", "link", "add", "name", self._root_link, "type", "veth", "peer", "name",
            "here", "netns", self.namespace)
        run("ip", "-n", self.namespace, "link", "set", "here", "master", "lan", "up")
        run("ip", "addr", "add", f"{self.subnet}.1/24", "dev", self._root_link)
        run("ip", "link", "set", self._root_link, "up")

    def close(self):
        for host in self.hosts.values():
            with contextlib.suppress(RigError, subprocess.TimeoutExpired):
                host.close()
        if self._root_link:
            run("ip", "link", "del", self._root_link, check=False)
        run("ip", "netns", "del", self.namespace, check=False)
        for host in self.hosts.values():
            shutil.rmtree(host.folder, ignore_errors=True)
