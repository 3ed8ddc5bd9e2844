"""The image: built offline from the Dockerfile, and run as a user without rights."""

import json
import pathlib
import subprocess
import time
import uuid

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = "localhost/shoal-test-build"
IMAGE = "localhost/shoal-test"
CCACHE = pathlib.Path.home() / ".cache/ccache"


def run(*command, timeout=60, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=timeout, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def make_base(folder):
    """A base image of links only: /usr and dpkg's database are this host's, lent for the build."""
    for name in ["etc/ssl", "etc/alternatives", "usr", "tmp", "var/lib/dpkg", "root/.cache/ccache"]:
        (folder / name).mkdir(parents=True)
    for name in ["bin", "sbin", "lib", "lib64"]:
        (folder / name).symlink_to("usr/" + name)
    run("tar", "-C", folder, "-cf", f"{folder}.tar", ".")
    # Its home is elsewhere than ours: the cache of compilations is found by name.
    run("podman", "import", "--change", "ENV CCACHE_DIR=/root/.cache/ccache", f"{folder}.tar", BASE)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    make_base(tmp_path_factory.mktemp("docker") / "base")
    CCACHE.mkdir(parents=True, exist_ok=True)
    lent = [f"--volume={path}:{path}:ro" for path in
            ["/usr", "/etc/ssl", "/etc/alternatives", "/etc/ld.so.cache", "/var/lib/dpkg"]]
    # unshare -n: there is no network, not even loopback.
    run("unshare", "-n", "buildah", "bud", "--isolation", "chroot", "--layers=false",
        "--pull=never", *lent, f"--volume={CCACHE}:/root/.cache/ccache", "--build-arg",
        f"BUILD={BASE}", "-f", ROOT / "docker/Dockerfile", "-t", IMAGE, ROOT, timeout=1500)
    yield IMAGE
    for name in [IMAGE, BASE]:
        subprocess.run(["podman", "rmi", "--force", name], capture_output=True, check=False)


def test_runs_without_root_and_without_capabilities(image):
    name = "shoal-test-" + uuid.uuid4().hex[:8]
    # podman's default limits are above what a test that runs in a container itself may set.
    run("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--detach",
        "--name", name, "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network",
        "none", "--cap-drop", "all", "--read-only", "--security-opt", "no-new-privileges", image)
    try:
        pid = int(run("podman", "inspect", "--format", "{{.State.Pid}}", name))
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        assert "Uid:\t65532\t65532" in status
        answer = await_status(pid)
        assert len(answer["id"]) == 64
        started = time.monotonic()
        run("podman", "stop", "--time", "15", name)
        assert time.monotonic() - started < 12
        assert run("podman", "inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"
    finally:
        print(subprocess.run(["podman", "logs", name], capture_output=True, text=True,
                             check=False).stderr)
        subprocess.run(["podman", "rm", "--force", "--volumes", name], capture_output=True,
                       check=False)


def await_status(pid, seconds=15):
    """The status API's answer, asked for inside the container's network."""
    deadline = time.monotonic() + seconds
    while True:
        done = subprocess.run(["nsenter", "-t", str(pid), "-n", "curl", "-sS", "-m", "2",
                               "http://127.0.0.1:7382/v1/status"], capture_output=True, text=True,
                              check=False)
        if done.returncode == 0:
            return json.loads(done.stdout)
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.1)


def test_holds_little_besides_the_binary(image):
    folder = run("podman", "image", "mount", image).strip()
    try:
        files = [path for path in pathlib.Path(folder).rglob("*")
                 if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in files)
        assert size < 120 << 20
        assert not any(path.name in ("sh", "bash", "busybox") for path in files)
    finally:
        run("podman", "image", "unmount", image)
