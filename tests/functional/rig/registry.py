"""docker-registry on a host, with images pushed into it and a count of what it was asked."""

import base64
import crypt
import json
import ssl
import urllib.parse

from . import web
from .process import run, wait_until

PORT = 5000


def make_certificate(folder, *names):
    """A CA and a server certificate for `names` (or addresses). Returns (ca, certificate, key)."""
    folder.mkdir(exist_ok=True)
    ca, ca_key, request = folder / "ca.pem", folder / "ca.key", folder / "server.csr"
    certificate, key, extensions = folder / "server.pem", folder / "server.key", folder / "ext"
    entries = [f"{'IP' if name[0].isdigit() else 'DNS'}:{name}" for name in names]
    extensions.write_text(f"subjectAltName={','.join(entries)}\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("openssl", "req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-days", "30", "-subj",
        "/CN=rig CA")
    run("openssl", "req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=server")
    run("openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial",
        "-out", certificate, "-days", "30", "-extfile", extensions)
    return ca, certificate, key


class Registry:
    """A docker-registry that runs on `host` as `name`:5000."""

    def __init__(self, host, name="reg.test", tls=False, password=None):
        self.host = host
        self.name = name
        self.folder = host.folder / "registry"
        self.folder.mkdir()
        self.process = None
        self.ca = None
        self.user, self.password = "tester", password
        host.network.name(name, host)
        config = {
            "version": 0.1,
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")},
                        "delete": {"enabled": True}},
            "http": {"addr": f":{PORT}"},
        }
        if tls:
            self.ca, certificate, key = make_certificate(self.folder / "tls", name, host.address)
            config["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
        if password:
            hashed = crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))
            (self.folder / "htpasswd").write_text(f"{self.user}:{hashed}\n")
            config["auth"] = {"htpasswd": {"realm": "rig", "path": str(self.folder / "htpasswd")}}
        (self.folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        self.start()

    @property
    def url(self):
        return f"{'https' if self.ca else 'http'}://{self.name}:{PORT}"

    def start(self):
        self.process = self.host.start("docker-registry", "serve", self.folder / "config.yml",
                                       log="registry.log")
        wait_until("the registry answers", self._answers)

    def _answers(self):
        self.process.require_running()
        try:
            return self.request("GET", "/v2/").status == 200
        except ConnectionRefusedError:
            return False

    def stop(self):
        self.process.kill()

    def request(self, method, path, headers=None, body=None):
        headers = dict(headers or {})
        if self.password:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        context = ssl.create_default_context(cafile=self.ca) if self.ca else None
        if context:
            context.check_hostname = False
        return web.request(self.host, PORT, method, path, headers, body, context=context)

    def reference(self, image, by_digest=False):
        """`reg.test/app:1`, as a runtime names it."""
        suffix = f"@{image.top.digest}" if by_digest else f":{image.tag}"
        return f"{self.name}/{image.repository}{suffix}"

    def push(self, image):
        for blob in image.blobs:
            self.push_blob(image.repository, blob)
        manifests = [image.manifest] + ([image.index] if image.index else [])
        for manifest in manifests:
            self._put_manifest(image.repository, manifest.digest, manifest)
        self._put_manifest(image.repository, image.tag, image.top)
        return image

    def push_blob(self, repository, blob):
        begun = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        assert begun.status == 202, begun
        place = urllib.parse.urlsplit(begun.headers["location"])
        query = urllib.parse.urlencode(
            urllib.parse.parse_qsl(place.query) + [("digest", blob.digest)])
        done = self.request("PUT", f"{place.path}?{query}",
                            {"Content-Type": "application/octet-stream"}, blob.data)
        assert done.status == 201, done

    def _put_manifest(self, repository, reference, blob):
        done = self.request("PUT", f"/v2/{repository}/manifests/{reference}",
                            {"Content-Type": blob.media_type}, blob.data)
        assert done.status == 201, done

    # --- what it was asked ---

    def log_size(self):
        return self.process.log.stat().st_size

    def answers(self, since=0):
        """[(method, path, status, bytes)] of requests answered since log_size() was `since`."""
        found = []
        for line in self.process.log.read_bytes()[since:].splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if "http.response.status" in entry:
                found.append((entry["http.request.method"], entry["http.request.uri"],
                              entry["http.response.status"],
                              entry.get("http.response.written", 0)))
        return found

    def blob_bytes(self, since=0):
        """Blob bytes it has sent."""
        return sum(size for method, path, status, size in self.answers(since)
                   if method == "GET" and "/blobs/sha256:" in path and status in (200, 206))
