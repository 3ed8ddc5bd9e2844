"""The units: tight by systemd's own measure, and working in a system booted with systemd."""

import os
import pathlib
import re
import shutil
import subprocess
import uuid

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SHOAL", ROOT / "build/release/agent/shoal"))
BUILD = BINARY.parents[1]
UNITS = ["shoal.service", "shoal-index.service"]

# What happens in the booted system; every line of its output is KEY=VALUE.
PROBE = r"""
say() { echo "$1=$(shift; "$@" 2>&1 | tr '\n' ' ')"; }
property() { systemctl show -P "$2" "$1"; }
unit() { # name admin-port
  systemctl start "$1"; echo "$1.start=$?"
  local pid; pid=$(property "$1" MainPID)
  say "$1.state" property "$1" ActiveState
  say "$1.caps" sed -n 's/^CapEff:\s*//p' /proc/$pid/status
  say "$1.user" stat -c %U /proc/$pid
  say "$1.health" curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:7382/healthz
  say "$1.status" curl -sS http://127.0.0.1:7382/v1/status
  say "$1.state_dir" stat -c '%U %a' "/var/lib/${1%.service}"
  systemctl stop "$1"
  say "$1.result" property "$1" Result
}
systemctl start containerd
say containerd property containerd ActiveState
unit shoal.service
say refused env -u HOME setpriv --reuid shoal --clear-groups cat /var/lib/shoal/identity
unit shoal-index.service
say errors journalctl -u shoal -u shoal-index -p warning -o cat
say log journalctl -u shoal -u shoal-index -o cat
"""


def installed(folder):
    """What `cmake --install` puts on a host, under `folder`."""
    done = subprocess.run(["cmake", "--install", BUILD], env={**os.environ, "DESTDIR": str(folder)},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    prefix = re.search(r"CMAKE_INSTALL_PREFIX:PATH=(.*)", (BUILD / "CMakeCache.txt").read_text())[1]
    return prefix


def make_root(root):
    """A system that is this host's /usr, and its own everything else."""
    for name in ["etc/systemd/system/multi-user.target.wants", "usr", "var", "root", "tmp", "run"]:
        (root / name).mkdir(parents=True)
    for name in ["bin", "sbin", "lib", "lib64"]:
        (root / name).symlink_to("usr/" + name)
    shutil.copy("/usr/lib/os-release", root / "etc/os-release")
    # With an id it is no first boot, on which Debian would start every service of /usr.
    (root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/bash\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/probe").write_text(PROBE)
    (root / "etc/systemd/system/probe.service").write_text(
        "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nExecStart=/bin/bash /etc/probe\n"
        "StandardOutput=file:/root/out\nExecStopPost=/bin/systemctl poweroff --force --no-block\n")
    (root / "etc/systemd/system/multi-user.target.wants/probe.service").symlink_to(
        "../probe.service")


@pytest.fixture(scope="module")
def booted(tmp_path_factory):
    """What the probe saw in a booted system with shoal installed."""
    folder = tmp_path_factory.mktemp("systemd")
    root, files = folder / "root", folder / "files"
    make_root(root)
    prefix = installed(files)
    (root / "etc/shoal").mkdir()
    shutil.copy(files / "etc/shoal/shoal.toml", root / "etc/shoal")
    binds = ["--bind-ro=/usr"]
    if prefix == "/usr/local":
        binds.append(f"--bind-ro={files}/usr/local:/usr/local")
    else:
        pytest.fail(f"built for {prefix}: configure without CMAKE_INSTALL_PREFIX")
    console = subprocess.run(
        ["systemd-nspawn", "--quiet", "--directory", root, *binds, "--private-network",
         "--register=no", "--keep-unit", "--console=pipe", "--boot"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    out = root / "root/out"
    assert out.exists(), console.stdout[-4000:] + console.stderr[-2000:]
    seen = dict(line.split("=", 1) for line in out.read_text().splitlines() if "=" in line)
    return {key: value.strip() for key, value in seen.items()}


@pytest.mark.parametrize("unit", UNITS)
def test_verify_has_nothing_to_say(unit, tmp_path):
    # The binary is not at its place on a host that only builds it.
    text = (ROOT / "systemd" / unit).read_text().replace("/usr/bin/shoal", str(BINARY))
    (tmp_path / unit).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / unit],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_exposure_is_low(unit):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                           ROOT / "systemd" / unit], capture_output=True, text=True, check=False)
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)[1])
    assert exposure <= 4.0


def test_the_example_says_the_defaults(tmp_path):
    """Uncommented, it is a right configuration, and not another one than none."""
    text = (ROOT / "systemd/shoal.toml").read_text()
    settings = re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.M)
    keep = settings.split("[[registry]]")[0]
    (tmp_path / "all.toml").write_text(settings)
    (tmp_path / "keys.toml").write_text(keep)
    check = subprocess.run([BINARY, "config", "check", "--config", tmp_path / "all.toml"],
                           capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    (tmp_path / "none.toml").write_text("")
    shown = [subprocess.run([BINARY, "config", "show", "--config", tmp_path / name],
                            capture_output=True, text=True, check=True).stdout
             for name in ["keys.toml", "none.toml"]]
    assert shown[0] == shown[1]
    # And it leaves nothing out.
    section = re.compile(r"^\[(\w+)\]$|^(\w+) = ", re.M)

    def names(toml):
        table = ""
        for found in section.finditer(toml):
            table = found[1] or table
            if found[2]:
                yield f"{table}.{found[2]}"

    assert set(names(keep)) == set(names(shown[1]))


@pytest.mark.parametrize("unit", UNITS)
def test_unit_starts_and_stops(booted, unit):
    assert booted[unit + ".start"] == "0", booted
    assert booted[unit + ".state"] == "active"
    assert booted[unit + ".health"] == "200", booted
    assert booted[unit + ".result"] == "success", booted


def test_agent_reaches_containerd_without_a_capability(booted):
    assert booted["containerd"] == "active"
    assert booted["shoal.service.user"] == "root"
    assert int(booted["shoal.service.caps"], 16) == 0
    assert re.search(r'"containerd": ?"connected', booted["shoal.service.status"]), booted


def test_index_server_is_not_root(booted):
    assert booted["shoal-index.service.user"] == "shoal"
    assert int(booted["shoal-index.service.caps"], 16) == 0


def test_state_is_nobody_elses(booted):
    assert booted["shoal.service.state_dir"] == "root 700"
    assert booted["shoal-index.service.state_dir"] == "shoal 700"
    assert "Permission denied" in booted["refused"]
