"""containerd on a host, at its default paths; pulls by ctr and by CRI."""

import json
import os
import re
import tempfile

from .cri import ImageService
from .process import RigError, run, wait_until

SOCKET = "/run/containerd/containerd.sock"
CERTS = "/etc/containerd/certs.d"

# disable_cgroup and friends: what CRI needs to start anywhere; it only pulls here.
_CONFIG = """
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  disable_cgroup = true
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certs}"
"""


def overlay_works(folder):
    """Whether an overlay can be mounted on the file system of `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as base:
        for part in ("lower", "upper", "work", "merged"):
            os.mkdir(f"{base}/{part}")
        tried = run("unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o",
                    f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work",
                    f"{base}/merged", check=False)
        return tried.returncode == 0


class Containerd:
    """The containerd of `host`, of the version that Debian ships."""

    def __init__(self, host, binary="containerd"):
        self.host = host
        self.binary = binary
        self.process = None
        self.snapshotter = "overlayfs" if overlay_works(host.folder) else "native"
        host.write("/etc/containerd/config.toml",
                   _CONFIG.format(snapshotter=self.snapshotter, certs=CERTS))
        self.start()

    def start(self):
        self.process = self.host.start(self.binary, log="containerd.log")
        wait_until("containerd answers", self._answers, timeout=30)

    def _answers(self):
        self.process.require_running()
        return self.ctr("version", check=False).returncode == 0

    def stop(self):
        self.process.stop()

    def use_mirror(self, registry, url="http://127.0.0.1:7380", server=None):
        """What `shoal hosts install` writes, in its smallest form."""
        server = f'server = "{server}"\n' if server else ""
        self.host.write(f"{CERTS}/{registry}/hosts.toml",
                        f'{server}[host."{url}"]\n  capabilities = ["pull", "resolve"]\n')

    def use_registry(self, registry, url):
        """Straight to the registry, without a mirror."""
        self.host.write(f"{CERTS}/{registry}/hosts.toml",
                        f'server = "{url}"\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n')

    def ctr(self, *arguments, namespace="k8s.io", **options):
        return self.host.run("ctr", "-n", namespace, *arguments, **options)

    def pull(self, reference, **options):
        return self.ctr("images", "pull", "--hosts-dir", CERTS, "--snapshotter", self.snapshotter,
                        "--platform", "linux/amd64", reference, timeout=300, **options)

    def start_pull(self, reference, log="ctr-pull.log", namespace="k8s.io"):
        """A pull in the background."""
        return self.host.start(
            "ctr", "-n", namespace, "images", "pull", "--hosts-dir", CERTS, "--snapshotter",
            self.snapshotter, "--platform", "linux/amd64", reference, log=log)

    def cri(self):
        """The CRI image service."""
        return ImageService(self.host.path(SOCKET))

    def images(self, namespace="k8s.io"):
        """The references it knows."""
        return self.ctr("images", "ls", "-q", namespace=namespace).stdout.split()

    def is_complete(self, reference, namespace="k8s.io"):
        """What `ctr images check` says."""
        text = self.ctr("images", "check", f"name=={reference}", namespace=namespace).stdout
        return bool(re.search(r"\bcomplete\b", text)) and "incomplete" not in text

    def has_content(self, digest, namespace="k8s.io"):
        return digest in self.ctr("content", "ls", "-q", namespace=namespace).stdout.split()

    def content_path(self, digest):
        """The file of a blob in its content store."""
        name = digest.split(":")[1]
        return self.host.path(
            f"/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/{name}")

    def forget(self, reference, namespace="k8s.io"):
        """Removes an image, and with it what only it needed.

        CRI gives each image two more names (its id, and name@digest), perhaps a moment later.
        """
        rows = [line.split() for line in self.ctr("images", "ls", namespace=namespace)
                .stdout.splitlines()[1:]]
        digest, = {row[2] for row in rows if row[0] == reference}

        def gone():
            for line in self.ctr("images", "ls", namespace=namespace).stdout.splitlines()[1:]:
                name, _, target = line.split()[:3]
                if target == digest:
                    self.ctr("images", "rm", "--sync", name, namespace=namespace, check=False)
            return not self.has_content(digest, namespace)

        wait_until(f"{reference} is gone", gone)

    def run_image(self, reference, *command):
        """Runs a command in a container of the image and returns what it printed.

        The spec is made by ctr and run by runc with no cgroup of its own, so that it works where
        cgroups cannot be made.
        """
        name = f"run-{os.urandom(4).hex()}"
        done = self.ctr("run", "--rm", "--net-host", "--snapshotter", self.snapshotter,
                        reference, name, *command, timeout=60, check=False)
        if done.returncode != 0:
            raise RigError(f"ctr run: {done.stderr}\n{self.process.text()[-3000:]}")
        return done.stdout


def manifest_of(containerd, digest):
    return json.loads(containerd.content_path(digest).read_bytes())
