"""An upstream registry that misbehaves as it is told. It lives in the test's own process."""

import base64
import http.server
import json
import secrets
import socket
import struct
import threading
import time
import urllib.parse


def reset(connection):
    """Closes with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Fault:
    """What to do instead of a right answer. Use one of the functions below."""

    def __init__(self, act, manifests=False, blobs=True, times=None):
        self.act = act
        self.manifests, self.blobs = manifests, blobs
        self.left = times  # None: always

    def fits(self, path):
        wanted = self.manifests if "/manifests/" in path else self.blobs
        if not wanted or self.left == 0:
            return False
        if self.left is not None:
            self.left -= 1
        return True


def status(code, headers=None, **where):
    """Answers with a status and an error body."""
    def act(handler, blob):
        body = b'{"errors":[{"code":"RIG","message":"as told"}]}'
        handler.answer(code, body, {"Content-Type": "application/json", **(headers or {})})
    return Fault(act, **where)


def slow(bytes_per_second, **where):
    def act(handler, blob):
        handler.send_blob(blob, pace=bytes_per_second)
    return Fault(act, **where)


def truncated(after, **where):
    """Promises everything and closes after `after` bytes."""
    def act(handler, blob):
        handler.send_blob(blob, stop_after=after)
        handler.close_connection = True
    return Fault(act, **where)


def reset_after(after, **where):
    def act(handler, blob):
        handler.send_blob(blob, stop_after=after)
        handler.wfile.flush()
        reset(handler.connection)
        handler.close_connection = True
    return Fault(act, **where)


def wrong_byte(at, **where):
    def act(handler, blob):
        data = bytearray(blob.data)
        data[at] ^= 1
        handler.send_blob(blob, data=bytes(data))
    return Fault(act, **where)


def silent(seconds, **where):
    """Says nothing at all for a while, then closes."""
    def act(handler, blob):
        handler.server.owner.closing.wait(seconds)
        handler.close_connection = True
    return Fault(act, **where)


def redirect(base, code=307, **where):
    """Blobs are elsewhere: at `base` plus the same path."""
    def act(handler, blob):
        handler.answer(code, b"", {"Location": base + handler.path})
    return Fault(act, **where)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, code, body, headers=None):
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_blob(self, blob, data=None, pace=None, stop_after=None):
        data = blob.data if data is None else data
        first, last = 0, len(data) - 1
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes=") and "," not in wanted:
            begin, end = wanted[6:].split("-")
            first = int(begin) if begin else max(0, len(data) - int(end))
            last = min(int(end), last) if begin and end else last
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        else:
            self.send_response(200)
        body = data[first:last + 1]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", blob.media_type)
        self.send_header("Docker-Content-Digest", blob.digest)
        self.end_headers()
        if self.command == "HEAD":
            return
        body = body[:stop_after]
        step = max(1, pace // 20) if pace else 1 << 20
        for at in range(0, len(body), step):
            self.wfile.write(body[at:at + step])
            self.server.owner.sent += len(body[at:at + step])
            if pace and self.server.owner.closing.wait(1 / 20):
                return

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        owner = self.server.owner
        if owner.closing.is_set():  # gone: kept connections are not answered either
            self.close_connection = True
            return
        owner.requests.append((self.command, self.path, dict(self.headers.items())))
        try:
            owner.serve(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


class FaultyRegistry:
    """Serves images from memory as `name` on `host`; see `faults` and `bearer`."""

    def __init__(self, host, name="faulty.test", port=5000, bearer=None):
        """bearer: None, or "user:password" (or "" for anybody) that gets a token."""
        self.host, self.name, self.port = host, name, port
        self.ca = None
        self.bearer = bearer
        self.tokens = set()
        self.faults = []
        self.requests = []
        self.sent = 0
        self.closing = threading.Event()
        self._manifests, self._blobs = {}, {}
        host.network.name(name, host)
        self._server = http.server.ThreadingHTTPServer(("", 0), _Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = host.listen(port)
        self._server.daemon_threads = True
        self._server.owner = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://{self.name}:{self.port}"

    def add(self, image):
        for blob in image.blobs:
            self._blobs[blob.digest] = blob
        for manifest in filter(None, (image.manifest, image.index)):
            self._manifests[image.repository, manifest.digest] = manifest
        self._manifests[image.repository, image.tag] = image.top
        return image

    def set_tag(self, repository, tag, blob):
        self._manifests[repository, tag] = blob

    def asked(self, part, method=None):
        """Requests whose path contains `part`."""
        return [entry for entry in list(self.requests)
                if part in entry[1] and method in (None, entry[0])]

    def serve(self, handler):
        path = urllib.parse.unquote(handler.path.split("?")[0])
        if path == "/token":
            return self._token(handler)
        if self.bearer is not None and not self._allowed(handler):
            repository = path.removeprefix("/v2/").rsplit("/", 2)[0]
            challenge = (f'Bearer realm="{self.url}/token",service="rig",'
                         f'scope="repository:{repository}:pull"')
            return handler.answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}',
                                  {"WWW-Authenticate": challenge})
        blob = self._find(path)
        for fault in self.faults:
            if path != "/v2/" and fault.fits(path):
                return fault.act(handler, blob)
        if path == "/v2/":
            return handler.answer(200, b"{}")
        if blob is None:
            code = "MANIFEST_UNKNOWN" if "/manifests/" in path else "BLOB_UNKNOWN"
            return handler.answer(404, json.dumps({"errors": [{"code": code}]}).encode(),
                                  {"Content-Type": "application/json"})
        return handler.send_blob(blob)

    def _find(self, path):
        if "/manifests/" in path:
            return self._manifests.get(tuple(path.removeprefix("/v2/").split("/manifests/")))
        return self._blobs.get(path.rsplit("/", 1)[1])

    def _allowed(self, handler):
        return handler.headers.get("Authorization", "").removeprefix("Bearer ") in self.tokens

    def _token(self, handler):
        given = handler.headers.get("Authorization", "").removeprefix("Basic ")
        if self.bearer and given != base64.b64encode(self.bearer.encode()).decode():
            return handler.answer(401, b"{}")
        token = secrets.token_hex(16)
        self.tokens.add(token)
        body = json.dumps({"token": token, "expires_in": 300}).encode()
        return handler.answer(200, body, {"Content-Type": "application/json"})

    def close(self):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        time.sleep(0)
