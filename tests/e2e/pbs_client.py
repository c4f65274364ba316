# SPDX-License-Identifier: Apache-2.0
"""A client of the backup server's protocol, made of Python's ssl, http.client and h2, to test the test server with."""
import http.client
import json
import re
import socket
import ssl
import urllib.parse

import h2.config
import h2.connection
import h2.events

PROTOCOL = "proxmox-backup-reader-protocol-v1"
SECONDS = 20  # for any answer


def context():
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname = False
    found.verify_mode = ssl.CERT_NONE
    found.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # how a connection ends is looked at
    return found


class Said:
    """An answer."""

    def __init__(self, status=None, headers=(), body=b"", reset=None):
        self.status = status
        self.headers = dict(headers)
        self.body = body
        self.reset = reset  # error code, when the stream was reset
        self.frames = []  # lengths of its DATA frames
        self.is_over = False

    @property
    def text(self):
        return self.body.decode()

    @property
    def data(self):
        return json.loads(self.body)["data"]

    def __eq__(self, other):
        return (self.status, self.text) == other

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:200]}"


class Client:
    """The REST API, one connection a call."""

    def __init__(self, server, **headers):
        self.server = server
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def call(self, method, path, query=None, body=None, headers=None):
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, context=context(), timeout=SECONDS)
        try:
            if query:
                path += "?" + (query if isinstance(query, str) else urllib.parse.urlencode(query))
            connection.request(method, "/api2/json/" + path, body, {**self.headers, **(headers or {})})
            answer = connection.getresponse()
            return Said(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def get(self, path, **query):
        return self.call("GET", path, {name.replace("_", "-"): value for name, value in query.items()})

    def login(self, body, kind="application/x-www-form-urlencoded"):
        return self.call("POST", "access/ticket", body=body, headers={"Content-Type": kind})

    def ticket(self, user="test@pbs", password=None):
        body = json.dumps({"username": user, "password": password or self.server.password})
        said = self.login(body, "application/json")
        assert said.status == 200, said
        return said.data["ticket"]


def logged_in(server, user="test@pbs", password=None):
    return Client(server, Cookie="PBSAuthCookie=" + Client(server).ticket(user, password))


def read_head(sock):
    head = b""
    while b"\r\n\r\n" not in head:
        piece = sock.recv(4096)
        assert piece, f"the connection ended after {head}"
        head += piece
    head, _, rest = head.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), rest


def reader_query(store, snapshot, ns=""):
    kind, group, time = snapshot
    query = {"backup-type": kind, "backup-id": group, "backup-time": time, "store": store}
    return {**query, "ns": ns} if ns else query


def upgrade(client, query, headers=None):
    """(answer, socket, bytes that came behind it)"""
    sock = context().wrap_socket(socket.create_connection(("127.0.0.1", client.server.port), timeout=SECONDS))
    lines = {"Host": "x", "Connection": "upgrade", "Upgrade": PROTOCOL, **client.headers, **(headers or {})}
    text = f"GET /api2/json/reader?{urllib.parse.urlencode(query)} HTTP/1.1\r\n"
    text += "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    sock.sendall(text.encode() + b"\r\n")
    status, head, rest = read_head(sock)
    said = Said(status, head.items())
    if status != 101:
        while len(rest) < int(head["content-length"]):
            rest += sock.recv(4096)
        said.body, rest = rest, b""
        sock.close()
    return said, sock, rest


class Tunnel:
    """The reader protocol: requests on streams of one connection, answered in any order."""

    def __init__(self, client, query, frame=4 << 20, window=(1 << 31) - 2):
        said, self.sock, rest = upgrade(client, query)
        assert said.status == 101, said
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.update_settings({4: window, 5: frame})
        self.h2.increment_flow_control_window(0x7ffeffff)
        self.said = {}
        self.settings = {}
        self.goaway = None  # (code, last stream)
        self.raw = rest  # all that came, to be looked at
        self.take_in(rest)
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.sock.close()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def ask(self, path, method="GET", **headers):
        """Sends a request; its stream."""
        stream = self.h2.get_next_available_stream_id()
        pairs = [(":method", method), (":scheme", "https"), (":authority", "x"), (":path", path)]
        self.h2.send_headers(stream, pairs + [(k.replace("_", "-"), v) for k, v in headers.items()], end_stream=True)
        self.said[stream] = Said()
        return stream

    def get(self, path, method="GET", **headers):
        return self.wait(self.ask(path, method, **headers))

    def wait(self, *streams):
        """Until these are answered or reset; the answer of the first one."""
        self.flush()
        while not all(self.said[stream].is_over for stream in streams):
            self.receive()
        return self.said[streams[0]]

    def receive(self):
        data = self.sock.recv(1 << 20)
        if not data:
            raise EOFError
        self.take_in(data)
        self.flush()

    def take_in(self, data):
        self.raw = (self.raw + data)[:4096]
        for event in self.h2.receive_data(data):
            said = self.said.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.ResponseReceived):
                said.headers = dict(event.headers)
                said.status = int(said.headers[":status"])
            elif isinstance(event, h2.events.DataReceived):
                said.body += event.data
                said.frames.append(len(event.data))
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                said.is_over = True
            elif isinstance(event, h2.events.StreamReset):
                said.reset, said.is_over = event.error_code, True
            elif isinstance(event, h2.events.RemoteSettingsChanged):
                self.settings.update({int(code): change.new_value for code, change in event.changed_settings.items()})
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = (event.error_code, event.last_stream_id)


def digests_of(index):
    """Of a fixed index, in order, each once."""
    table = index[4096:]
    return list(dict.fromkeys(table[off:off + 32].hex() for off in range(0, len(table), 32)))


def masked(text):
    """Without what depends on the machine."""
    return re.sub(r'"/[^"]*/(vm|host|ct|ns|\.chunks)/', r'"/\1/', text)
