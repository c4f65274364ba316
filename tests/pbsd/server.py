# SPDX-License-Identifier: Apache-2.0
"""What all connections share: the listener, the datastores, the accounts, the faults, the counters."""
import collections
import itertools
import socket
import threading

from answer import Refused
from connection import Connection
from faults import Faults

FORBIDDEN_SHARE = 6  # a 403 takes a sixth of what a 401 takes: 0.5 s and 3 s


class Counters:
    """Numbers for tests to assert on; any thread."""

    def __init__(self):
        self.lock = threading.Lock()
        self.reset()

    def reset(self):
        with self.lock:
            self.numbers = collections.Counter()
            self.requests = collections.Counter()  # by path
            self.chunks = []  # digests in the order of their requests

    def add(self, name, n=1):
        with self.lock:
            self.numbers[name] += n

    def highest(self, name, n):
        with self.lock:
            self.numbers[name] = max(self.numbers[name], n)

    def saw_request(self, target):
        with self.lock:
            self.requests[target.partition("?")[0]] += 1

    def saw_chunk(self, digest):
        with self.lock:
            self.chunks.append(digest)

    def shown(self):
        names = ("connections", "logins", "sessions", "body-bytes", "resets-seen", "peak-streams")
        with self.lock:
            return {**{name: self.numbers[name] for name in names}, "requests": dict(self.requests),
                    "chunks": list(self.chunks)}


class Server:
    def __init__(self, version, accounts, stores, certificate):
        self.version = version
        self.accounts = accounts
        self.stores = stores
        self.certificate = certificate
        self.delay_ms = 0
        self.auth_delay_ms = 3000
        self.port = 0
        self.faults = Faults()
        self.counters = Counters()
        self.lock = threading.Lock()
        self.connections = {}  # by number; guarded by lock
        self.is_frozen = False  # guarded by lock
        self.numbers = itertools.count(1)
        self.listener = None
        self.reserved = None  # while there is no listener: a socket that keeps its port
        self.acceptor = None

    # Asked by connections

    def delay(self):
        return self.delay_ms / 1000

    def penalty(self, status):
        """Seconds an answer is held back, so that nobody guesses fast."""
        return self.auth_delay_ms / 1000 / {401: 1, 403: FORBIDDEN_SHARE}[status] if status in (401, 403) else 0

    def tls_context(self):
        return self.certificate.context

    def store(self, name):
        if name not in self.stores:
            raise Refused(400, f"no such datastore '{name}'")
        return self.stores[name]

    def forget(self, connection):
        with self.lock:
            self.connections.pop(connection.number, None)

    # Life

    def start(self):
        """Listens; on the same port as before when there was one."""
        with self.lock:
            if self.listener:
                return
            self.listener, self.reserved = self.reserved or self.bound_socket(), None
            self.listener.listen(128)
            self.acceptor = threading.Thread(target=self.accept_all, args=(self.listener,), daemon=True)
            self.acceptor.start()

    def bound_socket(self):
        found = socket.socket()
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("127.0.0.1", self.port))
        self.port = found.getsockname()[1]
        return found

    def accept_all(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:  # it was shut down
                listener.close()
                return
            connection = Connection(self, sock, next(self.numbers))
            with self.lock:
                is_late = self.listener is not listener
                self.connections[connection.number] = connection
                if self.is_frozen:
                    connection.link.stall()
            self.counters.add("connections")
            connection.start()
            if is_late:
                connection.link.close("rst")

    def stop(self, how="fin"):
        """As if the process were gone: no listener, no connection, no session."""
        with self.lock:
            listener, self.listener = self.listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            self.acceptor.join()
            # It refuses connections, and nobody else is given the port meanwhile.
            self.reserved = self.bound_socket()
        for connection in self.all_connections():
            connection.link.close(how)
        for connection in self.all_connections():
            connection.thread.join(5)

    def restart_after(self, seconds, how):
        self.stop(how)
        threading.Timer(seconds, self.start).start()

    def all_connections(self):
        with self.lock:
            return list(self.connections.values())

    def freeze(self, is_frozen):
        """Nothing is read or written any more, not on new connections either."""
        with self.lock:
            self.is_frozen = is_frozen
        for connection in self.all_connections():
            if is_frozen:
                connection.link.stall()
            else:
                connection.link.resume()

    def clear(self):
        """All faults end: rules, stalls, drips."""
        self.faults.clear()
        self.accounts.refuses_logins = self.accounts.wants_second_factor = False
        for connection in self.all_connections():
            connection.link.rate = 0
            connection.fuse = None
        self.freeze(False)
