"""`shoal hosts`: the runtime is told of the mirror, and what was there comes back."""

import pytest

from rig.containerd import CERTS
from rig.image import make_image
from rig.podman import Podman
from rig.process import RigError

KEPT = '# by hand\nserver = "https://reg.test"\n[host."https://cache.example"]\n'


def test_install_makes_containerd_pull_through_the_agent(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    containerd = rig.containerd("a")
    a = rig.agent("a", [registry])
    done = a.verb("hosts", "install", "--runtime", "containerd", "--registry", registry.name)
    assert done.returncode == 0, done.stderr
    text = a.host.path(f"{CERTS}/{registry.name}/hosts.toml").read_text()
    assert '[host."http://127.0.0.1:7380"]' in text
    containerd.pull(registry.reference(image))
    assert a.bytes()["to_runtime"] >= image.size
    assert registry.name in a.verb("hosts", "show", "--runtime", "containerd").stdout


def test_remove_restores_what_was_there(rig):
    a = rig.agent("a", start=False)
    rig.host("a").write("/etc/containerd/config.toml",
                        'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n'
                        f'  config_path = "{CERTS}"\n')
    path = a.host.write(f"{CERTS}/reg.test/hosts.toml", KEPT)
    arguments = ["--runtime", "containerd", "--registry", "reg.test", "--registry", "new.test"]
    assert a.verb("hosts", "install", *arguments).returncode == 0
    assert path.read_text() != KEPT
    assert a.host.path(f"{CERTS}/new.test/hosts.toml").exists()
    # twice is as good as once, and does not lose what was kept
    assert a.verb("hosts", "install", *arguments).returncode == 0
    assert a.verb("hosts", "remove", *arguments).returncode == 0
    assert path.read_text() == KEPT
    assert not a.host.path(f"{CERTS}/new.test/hosts.toml").exists()
    assert a.verb("hosts", "remove", *arguments).returncode == 0, "nothing to remove is no error"


def test_install_without_a_registry_is_for_all(rig):
    a = rig.agent("a", start=False)
    done = a.verb("hosts", "install", "--runtime", "containerd")
    assert done.returncode == 0, done.stderr
    assert a.host.path(f"{CERTS}/_default/hosts.toml").exists()


def test_install_makes_podman_pull_through_the_agent(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a = rig.agent("a", [registry])
    podman = Podman(a.host)
    arguments = ["--runtime", "podman", "--registry", registry.name]
    assert a.verb("hosts", "install", *arguments).returncode == 0
    pulled = podman.pull(registry.reference(image))
    assert f"sha256:{pulled}" == image.config.digest
    assert a.bytes()["to_runtime"] >= image.size
    assert registry.name in a.verb("hosts", "show", "--runtime", "crio").stdout
    assert a.verb("hosts", "remove", *arguments).returncode == 0
    assert "no registry" in a.verb("hosts", "show", "--runtime", "podman").stdout
    podman("rmi", "--all", "--force")
    before = a.bytes()["to_runtime"]
    with pytest.raises(RigError):  # there is no https at the registry
        podman.pull(registry.reference(image))
    assert a.bytes()["to_runtime"] == before


def test_malformed_registries_and_runtimes(rig):
    a = rig.agent("a", start=False)
    assert a.verb("hosts", "install", "--runtime", "frob").returncode == 2
    for registry in ("../../etc", "a/b", "", "a b"):
        done = a.verb("hosts", "install", "--runtime", "containerd", "--registry", registry)
        assert done.returncode == 2, registry
        assert done.stderr.strip()
