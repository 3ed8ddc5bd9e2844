"""A peer written from docs/PROTOCOL.md, that can lie in every way a peer can."""

import ctypes
import http.server
import json
import ssl
import struct
import threading
import urllib.parse

from .faulty import reset
from .identity import Identity, base64url

_crypto = ctypes.CDLL("libcrypto.so.3")


class _Sha256(ctypes.Structure):
    _fields_ = [("h", ctypes.c_uint32 * 8), ("rest", ctypes.c_uint8 * 80)]


def piece_of(size, usual=1 << 20):
    """How an agent cuts a blob of `size` bytes: CutFor in fetch/piece.h."""
    piece = usual
    while piece // 2 >= 256 << 10 and size < piece * 512:
        piece //= 2
    while piece * 2 <= 4 << 20 and size > piece * 8192:
        piece *= 2
    return piece


def chain_states(data, piece):
    """The SHA-256 states before pieces 1, 2, 3, ... of `data`."""
    context = _Sha256()
    _crypto.SHA256_Init(ctypes.byref(context))
    states = []
    for at in range(0, len(data) - piece, piece):
        part = bytes(data[at:at + piece])
        _crypto.SHA256_Update(ctypes.byref(context), part, ctypes.c_size_t(len(part)))
        states.append(struct.pack(">8I", *context.h))
    return states


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, code, body, kind="application/json"):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        owner = self.server.owner
        split = urllib.parse.urlsplit(self.path)
        parts = split.path.strip("/").split("/")[2:]  # after p2p/v1
        query = dict(urllib.parse.parse_qsl(split.query))
        owner.requests.append(self.path)
        try:
            if parts == ["record"]:
                self.answer(200, owner.envelope())
            elif parts == ["peers", "names"]:
                self.answer(200, {"names": base64url(b"".join(
                    bytes.fromhex(friend.id)[:8] for friend, _ in owner.friends))})
            elif parts == ["peers"]:
                self.answer(200, {"records": [envelope for _, envelope in owner.friends]})
            elif parts == ["keys"]:
                owner.serve_keys(self, query)
            elif len(parts) == 3 and parts[2] == "map":
                owner.serve_map(self, parts[1], query)
            elif len(parts) == 2:
                owner.serve_bytes(self, parts[1])
            else:
                self.answer(404, {"error": "no such path"})
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def get_request(self):
        connection, remote = self.socket.accept()
        connection.settimeout(30)
        return connection, remote

    def finish_request(self, request, client_address):
        try:  # here, on the connection's own thread, so that one handshake never holds up others
            request = self.owner.context.wrap_socket(request, server_side=True)
        except OSError:
            return
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        pass


class Liar:
    """A peer on `host` that claims to hold blobs; honest until a method is replaced.

    serve_keys(handler, query), serve_map(handler, digest, query) and serve_bytes(handler, digest)
    are attributes on purpose: a test puts its lie there.
    """

    def __init__(self, host, blobs, port=7381, piece=64 << 10):
        self.host, self.port, self.piece = host, port, piece
        self.blobs = {blob.digest: blob for blob in blobs}
        self.identity = Identity(host.folder / f"identity-{port}")
        self.friends = []  # (Identity, envelope) of peers that it says to have heard from
        self.requests = []
        self.closing = threading.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.identity.certificate, self.identity.key)
        self._server = _Server(("", 0), _Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = host.listen(port)
        self._server.owner = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def endpoint(self):
        return f"{self.host.address}:{self.port}"

    def envelope(self):
        return self.identity.envelope([self.endpoint])

    def asked_for_bytes(self):
        return [path for path in list(self.requests)
                if "/blobs/" in path and not path.split("?")[0].endswith("/map")]

    def keys_document(self):
        keys = [{"blob": blob.digest, "size": blob.size} for blob in self.blobs.values()]
        return {"epoch": 7, "cursor": len(keys), "reset": False, "more": False, "keys": keys}

    def map_document(self, blob, data=None):
        data = blob.data if data is None else data
        last = max(0, (len(data) - 1) // self.piece)
        return {"size": len(data), "piece": self.piece, "have": f"0-{last}" if last else "0",
                "chain": base64url(b"".join(chain_states(data, self.piece)))}

    def range_of(self, handler):
        begin, end = handler.headers["Range"].removeprefix("bytes=").split("-")
        return int(begin), int(end) + 1

    # --- honest answers ---

    def serve_keys(self, handler, query):
        handler.answer(200, self.keys_document())

    def serve_map(self, handler, digest, query):
        blob = self.blobs.get(digest)
        if blob is None:
            return handler.answer(404, {"error": "not here"})
        known = int(query.get("known", 0))
        if known:
            self.closing.wait(int(query.get("wait_ms", 0)) / 1000)
        return handler.answer(200, self.map_document(blob))

    def serve_bytes(self, handler, digest):
        blob = self.blobs.get(digest)
        if blob is None:
            return handler.answer(404, {"error": "not here"})
        return self.send(handler, blob.data)

    def send(self, handler, data, stop_after=None, pace=None):
        """Answers a range of `data`; perhaps not all of it, perhaps slowly."""
        begin, end = self.range_of(handler)
        body = data[begin:end]
        handler.send_response(206)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Content-Range", f"bytes {begin}-{begin + len(body) - 1}/{len(data)}")
        handler.end_headers()
        body = body[:stop_after]
        step = max(1, pace // 10) if pace else len(body) or 1
        for at in range(0, len(body), step):
            handler.wfile.write(body[at:at + step])
            if pace and self.closing.wait(0.1):
                return

    def hang(self, seconds=30):
        self.closing.wait(seconds)

    def reset(self, handler):
        handler.wfile.flush()
        reset(handler.connection)
        handler.close_connection = True

    def close(self):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
