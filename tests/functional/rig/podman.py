"""podman on a host, with storage of its own and a mirror in registries.conf."""

import json

CONF = "/etc/containers/registries.conf"
MIRROR = "127.0.0.1:7380"


class Podman:
    def __init__(self, host):
        self.host = host
        host.write("/etc/containers/policy.json",
                   json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))

    def use_mirror(self, registry, mirror=MIRROR, location=None):
        """Asks `mirror`/<registry>/... first, then the registry itself, at `location`."""
        self.host.write(CONF, "\n".join([
            "[[registry]]", f'prefix = "{registry}"', f'location = "{location or registry}"',
            "insecure = true",
            "[[registry.mirror]]", f'location = "{mirror}/{registry}"', "insecure = true", ""]))

    def __call__(self, *arguments, **options):
        return self.host.run("env", f"CONTAINERS_REGISTRIES_CONF={CONF}", "podman",
                             "--root", "/var/lib/containers/storage", "--runroot",
                             "/run/containers/storage", "--storage-driver", "vfs",
                             *arguments, **options)

    def pull(self, reference):
        """Returns the image's id."""
        return self("pull", "--quiet", reference, timeout=300).stdout.split()[-1]

    def inspect(self, image):
        return json.loads(self("image", "inspect", image).stdout)[0]
