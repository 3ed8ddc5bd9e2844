"""Real images: several layers, a config, a manifest; runnable, and quick to make."""

import dataclasses
import functools
import hashlib
import io
import json
import pathlib
import random
import tarfile
import zlib

BUSYBOX = pathlib.Path("/bin/busybox")
APPLETS = ["sh", "cat", "ls", "echo", "sha256sum", "sleep", "true", "wc"]

OCI = {
    "index": "application/vnd.oci.image.index.v1+json",
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
}
DOCKER = {
    "index": "application/vnd.docker.distribution.manifest.list.v2+json",
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "config": "application/vnd.docker.container.image.v1+json",
    "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclasses.dataclass(frozen=True)
class Blob:
    data: bytes
    media_type: str
    diff_id: str = ""  # of a layer: the digest of the tar inside

    @functools.cached_property
    def digest(self):
        return digest_of(self.data)

    @property
    def size(self):
        return len(self.data)

    def descriptor(self, **more):
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **more}


def _tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data) if data is not None else None)
    return buffer.getvalue()


def _file(name, data, mode=0o644):
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    return info, data


def _link(name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info, None


def _folder(name, mode=0o755):
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    return info, None


def _layer(tar, level, media_type):
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return Blob(packer.compress(tar) + packer.flush(), media_type, digest_of(tar))


def _random_text(generator, size):
    """Bytes that gzip makes about half as long, as programs do."""
    return generator.randbytes(size // 2).hex().encode() + b"x" * (size % 2)


@dataclasses.dataclass(frozen=True)
class Image:
    repository: str
    tag: str
    layers: list
    config: Blob
    manifest: Blob
    index: object  # Blob or None

    @property
    def top(self):
        """What the tag points to."""
        return self.index or self.manifest

    @property
    def blobs(self):
        """Config and layers: what is fetched under /blobs/."""
        return [self.config, *self.layers]

    @property
    def size(self):
        return sum(blob.size for blob in self.blobs)


def _random_bytes(generator, size):
    """In steps: Python makes at most 256 MiB at once."""
    step = 64 << 20
    return b"".join(generator.randbytes(min(step, size - at)) for at in range(0, size, step))


def make_image(repository, tag="1", layer_sizes=(3 << 20, 1 << 20), seed=None, level=0,
               compressible=False, types=None, index=True):
    """An image whose first layer is busybox, followed by one data layer for each size.

    seed          the same seed gives the same bytes; by default the name decides
    level         gzip's; 0 stores, which is quick and right for random data
    compressible  data that gzip halves, instead of random bytes; use with level 1
    types         OCI (default) or DOCKER media types
    index         the tag points to an index of one platform, instead of to the manifest
    """
    types = types or OCI
    generator = random.Random(seed if seed is not None else f"{repository}:{tag}")
    hello = f"hello from {repository}:{tag} {generator.random()}\n".encode()
    members = [_folder("bin"), _folder("etc"), _folder("data"), _folder("tmp", 0o1777),
               _folder("proc"), _folder("sys"), _folder("dev"),
               _file("bin/busybox", BUSYBOX.read_bytes(), 0o755), _file("etc/hello", hello),
               _file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")]
    members += [_link(f"bin/{applet}", "busybox") for applet in APPLETS]
    layers = [_layer(_tar(members), 1, types["layer"])]
    for number, size in enumerate(layer_sizes):
        data = _random_text(generator, size) if compressible else _random_bytes(generator, size)
        layers.append(_layer(_tar([_file(f"data/{number}", data)]), level, types["layer"]))
    config = Blob(json.dumps({
        "created": "2024-01-01T00:00:00Z", "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["cat", "/etc/hello"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "rig"} for _ in layers],
    }).encode(), types["config"])
    manifest = Blob(json.dumps({
        "schemaVersion": 2, "mediaType": types["manifest"], "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    }).encode(), types["manifest"])
    top = None
    if index:
        platform = {"architecture": "amd64", "os": "linux"}
        top = Blob(json.dumps({
            "schemaVersion": 2, "mediaType": types["index"],
            "manifests": [manifest.descriptor(platform=platform)],
        }).encode(), types["index"])
    return Image(repository, tag, layers, config, manifest, top)


def hello_of(image):
    """What `cat /etc/hello` prints in the image: found in its first layer."""
    tar = zlib.decompress(image.layers[0].data, 31)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return archive.extractfile("etc/hello").read().decode()
