# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on purpose: a list of rules, each "at this point, for whom, what".

A rule is a JSON object:

    at      "connect"  a connection was accepted, nothing was said yet
            "request"  a request is to be answered, of HTTP/1 (the upgrade is one) or of the tunnel
            "now"      every connection that is there, at once
    path    regular expression that is found in the request's path and query
    conn    number of a connection, counted from 1
    skip    so many that match pass first
    times   so many are then hit (1; 0: all)
    begins  seconds from now; ends likewise
    action  and its own parameters:

    action  where                 parameters
    ------  --------------------  --------------------------------------------------------------------------------
    cut     all                   how: "rst", "fin", "tls" (close_notify, then FIN); after: bytes of bodies sent first
    stall   all                   after: as above. Then nothing is read or written, until "clear"
    drip    all                   rate: bytes a second
    goaway  now, request          code, last (stream); streams above it get no answer any more
    raw     connect, request      text or hex, repeat: sent in place of TLS, of an answer or of a frame
    answer  request               status, text or hex, repeat: n times that; headers; header_bytes: one that long;
                                  length: what content-length claims; chunked
    alter   request               how: "flip" (off), "truncate" (n off its end), "extend" (n zeros), "replace" (text,
                                  hex or the chunk called digest); keep_length: content-length says what it was
    late    request               seconds; in the tunnel the others are answered meanwhile
    ignore  request               never answered
    reset   request               code (8: CANCEL; 7: REFUSED_STREAM); in HTTP/1 a TCP reset

The kernel completes TCP handshakes and acknowledges what a stalled connection is sent: to the other side it is
a server process that hangs.  Packets that vanish need a firewall.
"""
import dataclasses
import itertools
import re
import threading
import time

from answer import Answer, BytesBody, RepeatedBody, contents_of


def bytes_of(rule):
    return bytes.fromhex(rule.get("hex")) if rule.get("hex") else rule.get("text", "").encode()


def body_of(rule):
    data = bytes_of(rule)
    repeat = rule.get("repeat", 1)
    return BytesBody(data) if repeat == 1 else RepeatedBody(data, len(data) * repeat)


# Actions on a connection; from its own thread, but for "now"

def cut(rule, connection):
    how, after = rule.get("how", "rst"), rule.get("after", 0)
    if after:
        connection.set_fuse(after, lambda: connection.cut(how))
    elif rule.at != "now":
        connection.cut(how)
    elif how == "tls":
        connection.link.call(lambda: connection.cut(how))
    else:
        connection.link.close(how)


def stall(rule, connection):
    if rule.get("after", 0):
        connection.set_fuse(rule.get("after"), connection.link.stall_after_that)
    elif rule.at == "now":
        connection.link.stall()
    else:
        connection.link.stall_after_that()


def drip(rule, connection):
    connection.link.rate = rule.get("rate")


def goaway(rule, connection):
    def send():
        if connection.tunnel:
            connection.tunnel.goaway(rule.get("code", 0), rule.get("last"))
    if rule.at == "now":
        connection.link.call(send)
    else:
        send()


def raw(rule, connection):
    body = body_of(rule)
    while body.left:
        connection.link.send(bytes(body.take(min(body.left, 1 << 16))))
    connection.cut("fin")


# Actions on a request

def raw_answer(rule, request):
    request.send_raw(contents_of(body_of(rule)))


def answer(rule, request):
    body = body_of(rule)
    said = Answer(rule.get("status", 200), body, rule.get("type", "application/json;charset=UTF-8"),
                  has_length=not rule.get("chunked"), headers=rule.get("headers", {}).items())
    said.length = rule.get("length", said.length)
    if rule.get("header_bytes"):
        said.headers.append(("x-long", "A" * rule.get("header_bytes")))
    request.respond(said)


def flipped(data, rule, _request):
    off = rule.get("off", len(data) // 2)
    return data[:off] + bytes([data[off] ^ 1]) + data[off + 1:]


def replaced(_data, rule, request):
    if rule.get("digest"):
        return contents_of(request.tunnel.session.store.chunk(rule.get("digest")))
    return contents_of(body_of(rule))


ALTERATIONS = {
    "flip": flipped,
    "truncate": lambda data, rule, _request: data[:len(data) - rule.get("n", 1)],
    "extend": lambda data, rule, _request: data + bytes(rule.get("n", 1)),
    "replace": replaced,
}


def alter(rule, request):
    said = request.real_answer()
    data = ALTERATIONS[rule.get("how")](contents_of(said.body), rule, request)
    said.body = BytesBody(data)
    if not rule.get("keep_length"):
        said.length = len(data)
    request.respond(said)


def late(rule, request):
    request.respond_later(request.real_answer, rule.get("seconds"))


def ignore(_rule, request):
    request.ignore()


def reset(rule, request):
    request.reset(rule.get("code", 8))


ON_CONNECTIONS = {"cut": cut, "stall": stall, "drip": drip, "goaway": goaway, "raw": raw}
ON_REQUESTS = {"answer": answer, "alter": alter, "late": late, "ignore": ignore, "reset": reset, "raw": raw_answer}
POINTS = {"connect": set(ON_CONNECTIONS) - {"goaway"}, "now": set(ON_CONNECTIONS) - {"raw"},
          "request": {*ON_CONNECTIONS, *ON_REQUESTS}}


@dataclasses.dataclass
class Rule:
    number: int
    at: str
    action: str
    parameters: dict
    path: re.Pattern = None
    conn: int = None
    skip: int = 0
    times: int = 1
    begins: float = 0
    ends: float = None
    made: float = dataclasses.field(default_factory=time.monotonic)
    n_seen: int = 0
    n_hit: int = 0

    def __post_init__(self):
        if self.action not in POINTS.get(self.at, ()):
            raise ValueError(f"no action {self.action} at {self.at}")
        self.path = re.compile(self.path or "")

    def get(self, name, default=None):
        return self.parameters.get(name, default)

    def is_meant(self, at, connection, target):
        age = time.monotonic() - self.made
        return (self.at == at and self.conn in (None, connection.number) and self.path.search(target)
                and self.begins <= age and (self.ends is None or age < self.ends))


class Faults:
    def __init__(self):
        self.lock = threading.Lock()
        self.rules = []  # guarded by lock
        self.numbers = itertools.count(1)

    def add(self, words, connections):
        own = {field.name for field in dataclasses.fields(Rule)}
        rule = Rule(number=next(self.numbers), parameters={k: v for k, v in words.items() if k not in own},
                    **{k: v for k, v in words.items() if k in own})
        with self.lock:
            self.rules.append(rule)
        if rule.at == "now":
            for connection in connections:
                self.hit(rule, connection)
        return rule.number

    def hit(self, rule, connection):
        if rule.is_meant("now", connection, ""):
            rule.n_hit += 1
            ON_CONNECTIONS[rule.action](rule, connection)

    def clear(self):
        with self.lock:
            self.rules.clear()

    def hits(self):
        with self.lock:
            return {str(rule.number): rule.n_hit for rule in self.rules}

    def first(self, at, connection, target=""):
        """The first rule whose turn it is, which is thereby used up by one."""
        with self.lock:
            for rule in self.rules:
                if not rule.is_meant(at, connection, target) or (rule.times and rule.n_hit >= rule.times):
                    continue
                rule.n_seen += 1
                if rule.n_seen > rule.skip:
                    rule.n_hit += 1
                    return rule
        return None

    def apply(self, at, connection):
        rule = self.first(at, connection)
        if rule:
            ON_CONNECTIONS[rule.action](rule, connection)

    def serve(self, request):
        """Answers a request, as it should be or as a rule says."""
        rule = self.first("request", request.connection, request.target)
        if rule and rule.action in ON_REQUESTS:
            ON_REQUESTS[rule.action](rule, request)
            return
        if rule:
            ON_CONNECTIONS[rule.action](rule, request.connection)
        request.respond(request.real_answer())
