"""A peer's identity and records, made with nothing but openssl: docs/PROTOCOL.md, first section."""

import base64
import hashlib
import json
import subprocess
import time

from .process import run


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Identity:
    """An Ed25519 key in `folder`, its certificate and what it signs.

    `seed`: the 32 bytes of an agent's key, to speak as that host.
    """

    def __init__(self, folder, seed=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.key = folder / "key.pem"
        self.certificate = folder / "certificate.pem"
        if seed is None:
            run("openssl", "genpkey", "-algorithm", "ed25519", "-out", self.key)
        else:
            # PKCS #8 of RFC 8410: everything before the seed is the same for every key.
            der = bytes.fromhex("302e020100300506032b657004220420") + seed
            subprocess.run(["openssl", "pkey", "-inform", "DER", "-out", self.key], input=der,
                           check=True, capture_output=True)
        run("openssl", "req", "-x509", "-key", self.key, "-out", self.certificate, "-days", "30",
            "-subj", "/CN=rig peer")
        der = subprocess.run(["openssl", "pkey", "-in", self.key, "-pubout", "-outform", "DER"],
                             check=True, capture_output=True).stdout
        self.public = der[-32:]
        self.id = hashlib.sha256(self.public).hexdigest()
        self._folder = folder

    def sign(self, data):
        message = self._folder / "message"
        message.write_bytes(data)
        return subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.key, "-in",
                               message], check=True, capture_output=True).stdout

    def envelope(self, endpoints, name="liar", rooms=("open",), lifetime=300, **more):
        payload = json.dumps({
            "version": 1, "name": name, "endpoints": list(endpoints), "rooms": list(rooms),
            "sequence": time.time_ns() // 1000, "expires": int((time.time() + lifetime) * 1000),
            **more}).encode()
        return {"payload": base64url(payload), "key": base64url(self.public),
                "signature": base64url(self.sign(b"shoal-record-v1\n" + payload))}
