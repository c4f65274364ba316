# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as the server speaks it before the upgrade."""
import time
import zlib

import rest
from answer import Answer, BytesBody, Gone, contents_of

MAX_HEAD = 64 << 10  # bytes of a request's head
MAX_BODY = 512 << 10
MAX_TARGET = 3072
CHUNK = 64 << 10  # of a chunked body
JSON = "application/json;charset=UTF-8"

REASONS = {
    101: "Switching Protocols", 200: "OK", 301: "Moved Permanently", 400: "Bad Request", 401: "Unauthorized",
    403: "Forbidden", 404: "Not Found", 414: "URI Too Long", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
}


def http_date():
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())


def head_of(status, headers):
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def text_answer(status, text, is_typed=True):
    return Answer(status, BytesBody(text.encode()), JSON if is_typed else None)


def parse_head(head):
    """(method, target, headers with names in lower case); None if it is no HTTP."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return words[0], words[1], headers


def answer_plain_http(connection, data):
    """Plain HTTP on the port of TLS is sent to the right place."""
    while b"\r\n\r\n" not in data and len(data) < MAX_HEAD:
        data += connection.arrived()
    request = parse_head(data.partition(b"\r\n\r\n")[0])
    if request:
        host = request[2].get("host", "localhost")
        headers = [("location", f"https://{host}"), ("content-length", 0), ("date", http_date())]
        connection.link.send(head_of(301, headers))


class Request:
    """One request of HTTP/1, and the way to answer it."""

    def __init__(self, http, method, target, headers, body):
        self.connection = http.connection
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body

    def real_answer(self):
        answer = rest.answer(self.connection.server, self)
        if "deflate" in self.headers.get("accept-encoding", "") and answer.status == 200:
            deflate(answer, self.connection.server.version)
        return answer

    def respond(self, answer):
        if answer.wait:
            self.connection.sleep(answer.wait)
        if answer.status == 101:
            self.connection.write(head_of(101, [*answer.headers, ("date", http_date())]))
            return
        headers = [("content-type", answer.content_type)] if answer.content_type else []
        headers.append(("content-length", answer.length) if answer.has_length else ("transfer-encoding", "chunked"))
        self.connection.write(head_of(answer.status, [*headers, ("date", http_date()), *answer.headers]))
        if self.method != "HEAD":
            self.write_body(answer)
        answer.body.close()

    def write_body(self, answer):
        body, write = answer.body, self.connection.write
        if answer.has_length:
            self.connection.write_body(body, body.left)
            return
        while body.left:
            n = min(body.left, CHUNK)
            write(b"%X\r\n" % n)
            self.connection.write_body(body, n)
            write(b"\r\n")
        write(b"0\r\n\r\n")

    def send_raw(self, data):
        """Instead of an answer."""
        self.connection.write(data)
        self.connection.cut("tls")

    def respond_later(self, make, seconds):
        """HTTP/1 answers in order: all of the connection waits."""
        self.connection.sleep(seconds)
        self.respond(make())

    def ignore(self):
        self.connection.link.stall_after_that()

    def reset(self, _code):
        self.connection.cut("rst")


def deflate(answer, version):
    """A client that offers it gets it: a raw stream from 3.x, one with a zlib header from 4.x."""
    packer = zlib.compressobj(wbits=15 if version == 4 else -15)
    packed = packer.compress(contents_of(answer.body)) + packer.flush()
    answer.body = BytesBody(packed)
    answer.length = len(packed)
    answer.headers.append(("content-encoding", "deflate"))


class Http1:
    def __init__(self, connection):
        self.connection = connection
        self.data = connection.decrypt()  # what came with the end of the handshake

    def serve(self):
        """Answers requests until one is an upgrade or the client has had enough; returns what came behind it."""
        server = self.connection.server
        while True:
            request = self.next_request()
            server.counters.saw_request(request.target)
            server.faults.serve(request)
            if self.connection.session or request.headers.get("connection", "").lower() == "close":
                return self.data

    def next_request(self):
        while b"\r\n\r\n" not in self.data:
            if len(self.data) > MAX_HEAD:
                self.refuse(431)
            self.data += self.connection.receive()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        parsed = parse_head(head)
        if not parsed:
            self.refuse(400)
        method, target, headers = parsed
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY or "transfer-encoding" in headers:
            self.refuse(400)
        while len(self.data) < int(length):
            self.data += self.connection.receive()
        body, self.data = self.data[:int(length)], self.data[int(length):]
        request = Request(self, method, target, headers, body)
        if len(target) > MAX_TARGET:
            self.refuse(414)
        return request

    def refuse(self, status):
        """What is no request ends the connection."""
        self.connection.write(head_of(status, [("content-length", 0), ("date", http_date())]))
        self.connection.end_tls()
        raise Gone
