"""HTTP as the tests speak it: from a host, to a port, without surprises."""

import dataclasses
import http.client
import json
import ssl
import time


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict  # names in lower case
    body: bytes
    seconds: float  # to the last byte
    first_byte: float  # to the headers

    def json(self):
        return json.loads(self.body)

    def errors(self):
        """The codes of an error body of the OCI distribution specification."""
        return [error["code"] for error in self.json()["errors"]]


class Connection(http.client.HTTPConnection):
    """A connection from `host`; TLS when a context is given."""

    def __init__(self, host, port, address="127.0.0.1", context=None, timeout=30.0):
        super().__init__(address, port, timeout=timeout)
        self._from = host
        self._context = context

    def connect(self):
        self.sock = self._from.connect(self.port, self.host, self.timeout)
        if self._context:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)


def insecure_context(certificate=None, key=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def request(host, port, method, path, headers=None, body=None, **options):
    """One request on a connection of its own, and its whole answer."""
    connection = Connection(host, port, **options)
    started = time.monotonic()
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        first_byte = time.monotonic() - started
        data = response.read()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, data, time.monotonic() - started, first_byte)
    finally:
        connection.close()


def raw(host, port, data, address="127.0.0.1", timeout=10.0):
    """Sends bytes as they are and returns all that comes back until the other side closes."""
    with host.connect(port, address, timeout) as connection:
        connection.sendall(data)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return received
